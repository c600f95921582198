// What the producer says when nobody gives it words.
export const SAMPLE = `A holdfast is the part of a kelp that keeps it in its place. It is not a root: it takes nothing from the rock it grips. All it does is hold, while everything above it is pulled about by the swell.

An answer from a model is in the same position. Its words are made one after another, somewhere, at some cost; and between that place and the person who reads them lies a connection that may go at any moment: a lift, a tunnel, a page reloaded by mistake, a server replaced in the middle of a sentence.

So the words are written down first. Each one gets a place in a log that several machines keep, and whoever reads is only a finger on the page. Lift the finger, walk away, come back on another device: the page is still there, and the finger goes on from the very next word. Nothing is said twice, and nothing is left out.

That also makes an end a real thing. When the last word has been written, that too is in the log; when the writer is stopped, or dies with the sentence half done, somebody notices and writes that down instead. A reader is never left looking at a cursor that blinks for ever.

Try it. Cut one of the viewers and let it resume. Reload this page. Open a second tab. Stop the gateway and start it again. Or kill the producer, and see how long it takes until everyone knows.`;
