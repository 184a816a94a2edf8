/** Batched packet I/O between JavaScript and many TAPs and UDP sockets. */
import { getSystemErrorName } from "node:util";
import { explain, TunTapError } from "./errors.js";
import { type EngineHandle, native } from "./native.js";
import { Offload, type TapDevice } from "./tap.js";
import type { UdpSocket } from "./udp.js";

/** Ints per frame in {@link PacketIo.rx} and {@link PacketIo.tx}. */
export const FRAME_STRIDE = 5;
/** Places in one entry of the tables. The last two are set for UDP ports only. */
export const Field = { port: 0, offset: 1, length: 2, peerAddress: 3, peerPort: 4 } as const;
/** Bytes before each received frame that may be overwritten, the `virtio_net_hdr` among them. */
export const HEADROOM_BYTES = 128;
/** Length of the `virtio_net_hdr` directly before each frame. */
export const VNET_HDR_BYTES = 10;

const KIB = 1024;
const KIND_TAP = 0;
const KIND_TUN = 1;
const KIND_UDP = 2;

/** Sizes and callbacks of a {@link PacketIo}. */
export interface PacketIoOptions {
  /**
   * A batch has come in: `rx` holds `frameCount` entries. Fill `tx` and return how many of its entries to send.
   * Received frames stay where they are until what it returned is sent. What it throws becomes an uncaught exception.
   */
  readonly onBatch: (frameCount: number) => number;
  /** The device behind a port has gone; the port is removed already. Its id is free one turn later. */
  readonly onPortError: (port: number, error: TunTapError) => void;
  /** Frames per batch at most, 256 to 65,536. Default 1024. */
  readonly rxFrames?: number;
  /** Entries of `tx`. Default twice `rxFrames`. */
  readonly txFrames?: number;
  /** Arena for received frames, at least 1 MiB. Default 4 MiB. */
  readonly rxBytes?: number;
  /** Arena for frames that JavaScript makes. Default 1 MiB. */
  readonly scratchBytes?: number;
  /** Frames taken from one port before the next has its turn. Default 64. */
  readonly budgetFrames?: number;
  /** Bytes taken from one port before the next has its turn. Default 256 KiB. */
  readonly budgetBytes?: number;
  /**
   * Niceness of this thread while batches have few frames, -20 to 0. During a flood of small ones it is what it was
   * before, as the kernel's softirqs run ahead of everything until there is so much that ksoftirqd takes over. Children begin
   * with 0. Without the right to it (CAP_SYS_NICE) it stays as it is. Default 0.
   */
  readonly niceness?: number;
  /** Receives nothing until {@link PacketIo.resume}: what comes waits in the queues of devices and sockets. Default false. */
  readonly paused?: boolean;
}

interface PortAbilities {
  readonly vnet?: boolean;
  readonly gro?: boolean;
  readonly merge?: boolean;
  /** Its kernel cuts UDP super-packets. */
  readonly uso?: boolean;
}

/** Counters of one port. A super-packet counts as one frame. */
export interface PortStats {
  readonly rxFrames: number;
  readonly rxBytes: number;
  /** Failed reads, truncated or empty datagrams, whole super-packets from elsewhere. */
  readonly rxErrors: number;
  /** Segments appended to a super-packet. */
  readonly rxMerged: number;
  readonly txFrames: number;
  readonly txBytes: number;
  /** Frames dropped because the kernel had no room (EAGAIN, ENOBUFS). */
  readonly txDropped: number;
  /** Frames that the kernel refused, or whose entry or header made no sense. */
  readonly txErrors: number;
  /** Packets that super-packets were cut into. */
  readonly txSegments: number;
  /** Datagrams that the kernel dropped because the socket's receive buffer was full; 0 on devices. */
  readonly rxDropped: number;
}

/**
 * One arena, one epoll descriptor, one JavaScript call per batch of frames.
 *
 * Ports stay open and belong to who opened them; closing one removes it from its PacketIo.
 */
export class PacketIo {
  /** All frames: first the received ones, then {@link scratchStart} to {@link scratchEnd} for JavaScript's own. */
  readonly arena: Uint8Array;
  readonly scratchStart: number;
  readonly scratchEnd: number;
  /** Received frames, {@link FRAME_STRIDE} ints each: port, offset, length, peer address (IPv4 bits), peer port. */
  readonly rx: Int32Array;
  /** Frames to send, in the same form. Offsets may point anywhere in the arena. */
  readonly tx: Int32Array;
  readonly #engine: EngineHandle;
  readonly #counters = new Float64Array(10);
  readonly #forget = new Map<number, () => void>();

  constructor(options: PacketIoOptions) {
    const {
      rxFrames = 1024,
      txFrames = 2 * rxFrames,
      rxBytes = 4096 * KIB,
      scratchBytes = 1024 * KIB,
    } = options;
    const { budgetFrames = 64, budgetBytes = 256 * KIB, niceness = 0 } = options;
    within("rxFrames", rxFrames, 256, 65_536);
    within("txFrames", txFrames, 1, 1_048_576);
    within("rxBytes", rxBytes, 1024 * KIB, 1024 * 1024 * KIB);
    within("scratchBytes", scratchBytes, 0, 512 * 1024 * KIB);
    within("budgetFrames", budgetFrames, 1, 65_536);
    within("budgetBytes", budgetBytes, 1, 1024 * 1024 * KIB);
    within("niceness", niceness, -20, 0);
    this.arena = new Uint8Array(new ArrayBuffer(rxBytes + scratchBytes));
    this.scratchStart = rxBytes;
    this.scratchEnd = rxBytes + scratchBytes;
    this.rx = new Int32Array(rxFrames * FRAME_STRIDE);
    this.tx = new Int32Array(txFrames * FRAME_STRIDE);
    const onError = (port: number, errno: number) => this.#portFailed(port, errno, options.onPortError);
    try {
      this.#engine = native().ioCreate(
        this.arena,
        this.rx,
        this.tx,
        rxBytes,
        budgetFrames,
        budgetBytes,
        options.onBatch,
        onError,
      );
    } catch (error) {
      throw explain(error, { what: "start packet I/O" });
    }
    if (niceness < 0) this.#setNiceness(niceness);
    if (!options.paused) this.resume();
  }

  /** Begins to receive, when it was made `paused`; what has waited comes first. */
  resume(): void {
    native().ioReceive(this.#engine);
  }

  /** Adds a device; returns its port id, a small integer. Throws {@link TunTapError} when it is closed or added twice. */
  addTap(tap: TapDevice): number {
    const kind = tap.mode === "tun" ? KIND_TUN : KIND_TAP;
    return this.#add(tap, kind, { vnet: tap.vnetHdr, uso: (tap.offloads & Offload.uso4) !== 0 });
  }

  /** Adds a socket; returns its port id. Throws {@link TunTapError} when it is closed or added twice. */
  addUdp(udp: UdpSocket): number {
    return this.#add(udp, KIND_UDP, udp);
  }

  /**
   * Takes a port out at once: no frame comes from it after the current batch, none goes to it. Its id is given
   * to another port one turn of the event loop later at the earliest. Safe inside `onBatch`; unknown ids are ignored.
   */
  removePort(port: number): void {
    const forget = this.#forget.get(port);
    if (!forget) return;
    forget();
    this.#forget.delete(port);
    native().ioRemove(this.#engine, port);
    setImmediate(() => native().ioRelease(this.#engine, port));
  }

  /**
   * Says whether a peer reads super-packets that come whole: a datagram of the IP packet and, behind it, its
   * `virtio_net_hdr`. Used only where nothing but this machine's memory lies between, as the checksum stays partial; super-packets to
   * other peers are cut. UDP ports with `merge` read them from any address of this machine.
   *
   * @param peer IPv4 address as bits
   * @returns whether its super-packets go whole from now on
   */
  sendWhole(peer: number, takes: boolean): boolean {
    return native().ioTakeWhole(this.#engine, peer | 0, takes);
  }

  /** Sends the first `frameCount` entries of `tx` now, outside of a batch or within one. */
  flush(frameCount: number): void {
    native().ioFlush(this.#engine, frameCount);
  }

  /** Counters of a port, zero-based at {@link addTap}/{@link addUdp}; `undefined` when there is no such port. */
  ioStats(port: number): PortStats | undefined {
    const c = this.#counters;
    if (!native().ioStats(this.#engine, port, c)) return undefined;
    const [
      rxFrames,
      rxBytes,
      rxErrors,
      rxMerged,
      txFrames,
      txBytes,
      txDropped,
      txErrors,
      txSegments,
      rxDropped,
    ] = c;
    return {
      rxFrames,
      rxBytes,
      rxErrors,
      rxMerged,
      txFrames,
      txBytes,
      txDropped,
      txErrors,
      txSegments,
      rxDropped,
    };
  }

  /** Keeps the event loop alive while open (the default). */
  ref(): void {
    native().ioRef(this.#engine, true);
  }

  /** Lets the process end although this is open. */
  unref(): void {
    native().ioRef(this.#engine, false);
  }

  /** Removes every port and stops. Devices and sockets stay open. May be called twice, and inside `onBatch`. */
  close(): void {
    for (const forget of this.#forget.values()) forget();
    this.#forget.clear();
    native().ioClose(this.#engine);
  }

  #setNiceness(niceness: number): void {
    try {
      native().ioSetNiceness(this.#engine, niceness);
    } catch (error) {
      if (!(error instanceof Error && "code" in error && (error.code === "EPERM" || error.code === "EACCES")))
        throw explain(error, { what: "set the niceness" });
    }
  }

  #add(source: TapDevice | UdpSocket, kind: number, can: PortAbilities): number {
    const { vnet = false, gro = false, merge = false, uso = false } = can;
    const what =
      source instanceof Object && "name" in source ? source.name : `UDP ${source.address}:${source.port}`;
    if (source.fd < 0) throw new TunTapError("EBADF", `cannot add ${what}: it is closed`);
    try {
      const port = native().ioAdd(this.#engine, source.fd, kind, vnet, gro, merge, uso);
      this.#forget.set(
        port,
        source.beforeClose(() => this.removePort(port)),
      );
      return port;
    } catch (error) {
      throw explain(error, { what: `add ${what}` });
    }
  }

  #portFailed(port: number, errno: number, report: PacketIoOptions["onPortError"]): void {
    this.removePort(port);
    const code = errno === EBADFD ? "EBADFD" : getSystemErrorName(-errno);
    report(port, new TunTapError(code, `port ${port} is gone: its device was removed (${code})`));
  }
}

/** What a TAP says when its device was deleted; libuv has no name for it. */
const EBADFD = 77;

function within(name: string, value: number, least: number, most: number): void {
  if (Number.isInteger(value) && value >= least && value <= most) return;
  throw new TunTapError(
    "EINVAL",
    `PacketIo: ${name} must be an integer from ${least} to ${most}, not ${value}`,
  );
}
