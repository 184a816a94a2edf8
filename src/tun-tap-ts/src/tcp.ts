/** TCP sockets of other network namespaces, for Node's own `net`. */
import { explain } from "./errors.js";
import { native } from "./native.js";

/** Where to open a socket. */
export interface TcpOptions {
  /** Path of the namespace, such as `/run/netns/web`. */
  readonly netns: string;
  /**
   * Local IPv4 or IPv6 address and port, which a socket needs to listen. Left out: an IPv4 socket that is not bound. A
   * socket on `::` takes IPv4 connections too, unless it is `ipv6Only` (IPV6_V6ONLY of ipv6(7)).
   */
  readonly bind?: { readonly address: string; readonly port: number; readonly ipv6Only?: boolean };
}

/**
 * Opens a TCP socket and returns its descriptor, which belongs to the caller. To listen, bind it and hand it to
 * `server.listen({ fd })`; to connect, use `new net.Socket({ fd })`.
 *
 * @throws TunTapError one sentence that says what to do; `code` is the errno name
 */
export function openTcp({ netns, bind }: TcpOptions): number {
  try {
    return native().openTcp(netns, bind?.address ?? "", bind?.port ?? 0, bind?.ipv6Only ?? false);
  } catch (error) {
    const what = bind ? `bind TCP ${bind.address}:${bind.port}` : "open a TCP socket";
    throw explain(error, { what, netns });
  }
}
