"""Nchan: nginx's pub/sub module in C, one worker."""

from __future__ import annotations

import os
import re
from pathlib import Path

from bench.loadclient import Target
from bench.peers.base import System
from bench.placement import Placement
from bench.process import BenchError, Child, run, wait_for_port

_MODULE = Path("/usr/lib/nginx/modules/ngx_nchan_module.so")
_PACKAGES = ("nginx-light", "libnginx-mod-nchan")

_CONFIG = """
load_module {module};
pid {dir}/nginx.pid;
error_log {dir}/error.log warn;
daemon off;
user root;
worker_processes 1;
worker_rlimit_nofile {files};
events {{ worker_connections {files}; multi_accept on; }}
http {{
  access_log off;
  tcp_nodelay on;
  keepalive_requests 100000000;
  keepalive_timeout 3600s;
  client_body_buffer_size 64k;
  client_body_temp_path {dir}/body;
  proxy_temp_path {dir}/proxy;
  fastcgi_temp_path {dir}/fastcgi;
  uwsgi_temp_path {dir}/uwsgi;
  scgi_temp_path {dir}/scgi;
  nchan_shared_memory_size 512M;
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location ~ ^/pub/(\\d+)$ {{
      nchan_publisher http;
      nchan_channel_id $1;
      nchan_message_buffer_length 10000;
      nchan_message_timeout 10m;
    }}
    location ~ ^/sub/(\\d+)$ {{
      nchan_subscriber eventsource;
      nchan_channel_id $1;
      nchan_subscriber_first_message oldest;
    }}
  }}
}}
"""


class Nchan(System):
    """Messages are kept in shared memory, as a server that can resume keeps them."""

    name = "nchan"
    way = "nchan"
    cells = frozenset("abcdefg")

    def install(self) -> None:
        if _MODULE.exists():
            return
        if os.geteuid() != 0:
            raise BenchError(f"Nchan is missing; on Debian: apt-get install {' '.join(_PACKAGES)}")
        run(["apt-get", "update", "-q"])
        run(
            ["apt-get", "install", "-y", "-q", "--no-install-recommends", *_PACKAGES],
            env={"DEBIAN_FRONTEND": "noninteractive"},
        )

    def version(self) -> str:
        text = run(["dpkg-query", "-W", "-f", "${Package} ${Version}\n", *_PACKAGES])
        found = re.search(r"libnginx-mod-nchan 1:([\w.]+)", text)
        return found[1] if found else text.replace("\n", ", ").strip(", ")

    def start(self, placement: Placement) -> None:
        port, directory = self.new_port(), self.scratch()
        config = directory / "nginx.conf"
        config.write_text(_CONFIG.format(module=_MODULE, dir=directory, port=port, files=os.sysconf("SC_OPEN_MAX")))
        nginx = Child(
            "nginx",
            ["nginx", "-p", str(directory), "-e", str(directory / "error.log"), "-c", str(config)],
            cores=placement.system,
            log=directory / "stderr.log",
        )
        self.children.append(nginx)
        wait_for_port(port, nginx)

    def viewers(self) -> Target:
        return Target(self.port, "/sub/%d")
