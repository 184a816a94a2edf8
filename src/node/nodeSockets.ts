/** TCP from the node's own namespace, while this process stays in the machine's. */
import { Socket, type SocketConstructorOpts } from "node:net";
import { openTcp } from "tun-tap-ts";

/**
 * Connects from a namespace, IPv4, as `net.connect` does from the process's own. Throws TunTapError when the namespace
 * is gone.
 */
export function connectFrom(netns: string): (host: string, port: number) => Socket {
  return (host, port) => {
    // As with an accepted connection, nothing may be read before there is something to read from.
    const options = { fd: openTcp({ netns: `/run/netns/${netns}` }), pauseOnCreate: true };
    const socket = new Socket(options as SocketConstructorOpts);
    socket.connect({ host, port, family: 4, autoSelectFamily: false });
    return socket.resume();
  };
}
