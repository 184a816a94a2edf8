/** TCP from and to the node's own namespace, while this process stays in the machine's. */
import { type Server, Socket, type SocketConstructorOpts } from "node:net";
import { openTcp } from "tun-tap-ts";

const pathOf = (netns: string): string => `/run/netns/${netns}`;

/**
 * Connects from a namespace, IPv4, as `net.connect` does from the process's own. Throws TunTapError when the namespace
 * is gone.
 */
export function connectFrom(netns: string): (host: string, port: number) => Socket {
  return (host, port) => {
    // As with an accepted connection, nothing may be read before there is something to read from.
    const options = { fd: openTcp({ netns: pathOf(netns) }), pauseOnCreate: true };
    const socket = new Socket(options as SocketConstructorOpts);
    socket.connect({ host, port, family: 4, autoSelectFamily: false });
    return socket.resume();
  };
}

/** Lets a server listen in a namespace. Rejects with one sentence when the address or port cannot be had. */
export async function listenIn(netns: string, address: string, port: number, server: Server): Promise<void> {
  const fd = openTcp({ netns: pathOf(netns), bind: { address, port } });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen({ fd }, resolve);
  });
}
