/** Two PacketIo joined by UDP on loopback, for tests that compare bytes. */
import {
  Field,
  FRAME_STRIDE,
  openUdp,
  PacketIo,
  type PacketIoOptions,
  type PortStats,
  type UdpOptions,
  VNET_HDR_BYTES,
} from "../src/index.js";
import type { Lab } from "./lab.js";

export interface Received {
  readonly bytes: Buffer;
  readonly header: Buffer;
  readonly port: number;
  readonly peerAddress: number;
  readonly peerPort: number;
  /** Bytes between the end of the frame before it in the batch (or the arena's start) and this frame. */
  readonly gap: number;
}

export const LOOPBACK = 0x7f000001;

/** A PacketIo that keeps a copy of all it receives. */
export function collector(lab: Lab, options: Partial<PacketIoOptions> = {}) {
  const frames: Received[] = [];
  const batches: number[] = [];
  const io: PacketIo = new PacketIo({
    onBatch(count) {
      batches.push(count);
      let end = 0;
      for (let e = 0; e < count * FRAME_STRIDE; e += FRAME_STRIDE) {
        const offset = io.rx[e + Field.offset]!;
        const length = io.rx[e + Field.length]!;
        frames.push({
          bytes: Buffer.from(io.arena.subarray(offset, offset + length)),
          header: Buffer.from(io.arena.subarray(offset - VNET_HDR_BYTES, offset)),
          port: io.rx[e + Field.port]!,
          peerAddress: io.rx[e + Field.peerAddress]! >>> 0,
          peerPort: io.rx[e + Field.peerPort]!,
          gap: offset - end,
        });
        end = offset + length;
      }
      return 0;
    },
    onPortError: (_, error) => {
      throw error;
    },
    ...options,
  });
  lab.later(() => io.close());
  return { io, frames, batches };
}

export function socket(lab: Lab, options: Partial<UdpOptions> = {}) {
  const udp = openUdp({
    address: "127.0.0.1",
    port: 0,
    rcvbufBytes: 1 << 23,
    sndbufBytes: 1 << 22,
    ...options,
  });
  lab.later(() => udp.close());
  return udp;
}

export interface Outgoing {
  readonly bytes: Uint8Array;
  /** The virtio_net_hdr; zeros when left out. */
  readonly header?: Uint8Array;
}

/** A sender with one UDP port; `send` puts all frames in one flush. */
export function sender(lab: Lab) {
  const io = new PacketIo({
    onBatch: () => 0,
    onPortError: (_, error) => {
      throw error;
    },
  });
  lab.later(() => io.close());
  const udp = socket(lab);
  const port = io.addUdp(udp);
  const send = (frames: readonly Outgoing[], peerPort: number): void => {
    let at = io.scratchStart;
    frames.forEach(({ bytes, header }, i) => {
      io.arena.fill(0, at, at + VNET_HDR_BYTES);
      if (header) io.arena.set(header, at);
      io.arena.set(bytes, at + VNET_HDR_BYTES);
      io.tx.set([port, at + VNET_HDR_BYTES, bytes.length, LOOPBACK, peerPort], i * FRAME_STRIDE);
      at += VNET_HDR_BYTES + bytes.length;
    });
    io.flush(frames.length);
  };
  return { io, port, localPort: udp.port, send, stats: (): PortStats => io.ioStats(port)! };
}
