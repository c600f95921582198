"""All systems, in the order results show them."""

from __future__ import annotations

from bench.peers.base import System
from bench.peers.durable_streams import DurableStreams
from bench.peers.go_hubs import Centrifugo, Mercure
from bench.peers.holdfast import Holdfast, HoldfastEager
from bench.peers.nchan import Nchan
from bench.peers.python_apps import QueuePerViewer, ResumableSse

SHORT: tuple[type[System], ...] = (Holdfast, HoldfastEager, Nchan, QueuePerViewer)
LONG: tuple[type[System], ...] = (*SHORT, ResumableSse, DurableStreams, Mercure, Centrifugo)
