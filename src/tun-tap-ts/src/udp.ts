/** UDP sockets for {@link PacketIo}. IPv4. */
import { explain, TunTapError } from "./errors.js";
import { native } from "./native.js";

/** How to open a socket. */
export interface UdpOptions {
  /** Local IPv4 address. */
  readonly address: string;
  /** Local port; 0: the kernel chooses. */
  readonly port: number;
  /** SO_REUSEADDR. Default false. */
  readonly reuse?: boolean;
  /** Let the kernel hand over runs of datagrams in one piece (UDP_GRO). They are delivered one by one. Default false. */
  readonly gro?: boolean;
  /**
   * Merge consecutive TCP segments of one flow, carried as bare IP packets, into super-packets with a
   * `virtio_net_hdr` (the kernel's GRO rules, checksums verified), and UDP datagrams too once there is a TAP
   * that takes them (Linux 6.2). Default false.
   */
  readonly merge?: boolean;
  readonly sndbufBytes?: number;
  readonly rcvbufBytes?: number;
}

/** A bound socket. */
export class UdpSocket {
  readonly address: string;
  /** The local port. */
  readonly port: number;
  readonly gro: boolean;
  readonly merge: boolean;
  readonly #onClose = new Set<() => void>();
  #fd: number;

  /** @internal use {@link openUdp} */
  constructor(fd: number, port: number, options: UdpOptions) {
    this.#fd = fd;
    this.port = port;
    this.address = options.address;
    this.gro = options.gro ?? false;
    this.merge = options.merge ?? false;
  }

  /** The descriptor, -1 once closed. */
  get fd(): number {
    return this.#fd;
  }

  /** Leaves its PacketIo and closes the socket. May be called twice. */
  close(): void {
    if (this.#fd < 0) return;
    for (const leave of this.#onClose) leave();
    this.#onClose.clear();
    native().closeFd(this.#fd);
    this.#fd = -1;
  }

  /** @internal Runs `leave` before the socket is closed; the result takes it back. */
  beforeClose(leave: () => void): () => void {
    this.#onClose.add(leave);
    return () => this.#onClose.delete(leave);
  }
}

/**
 * Binds a UDP socket.
 *
 * @throws TunTapError one sentence that says what to do; `code` is the errno name
 */
export function openUdp(options: UdpOptions): UdpSocket {
  const { address, port, reuse = false, gro = false, sndbufBytes = 0, rcvbufBytes = 0 } = options;
  if (!Number.isInteger(port) || port < 0 || port > 65535)
    throw new TunTapError("EINVAL", `cannot bind UDP ${address}:${port}: the port must be 0 to 65535`);
  try {
    const opened = native().openUdp(address, port, reuse, gro, sndbufBytes, rcvbufBytes);
    return new UdpSocket(opened.fd, opened.port, options);
  } catch (error) {
    throw explain(error, { what: `bind UDP ${address}:${port}` });
  }
}
