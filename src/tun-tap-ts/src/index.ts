/**
 * TUN/TAP devices and UDP sockets with batched packet I/O.
 *
 * Theory of operation: {@link openTap} and {@link openUdp} give descriptors; a {@link PacketIo} watches any number of
 * them with one epoll descriptor that sits in libuv's loop. When some are readable, the addon drains them, a budget
 * per port at a time, into one preallocated arena, enters each frame in the table `rx` and calls JavaScript once for
 * the whole batch. JavaScript looks at the bytes in place, rewrites them in place and answers with the table `tx`,
 * which the addon then writes out: `write` for TAPs, `sendmmsg` for UDP. No object is made per frame.
 *
 * Directly before each frame stands a `virtio_net_hdr`. It lets the kernel hand over bulk TCP as super-packets of up
 * to 64 KiB with the checksum undone; a TAP opened with `vnetHdr` takes them back as they are. Where a frame leaves
 * by a plain TAP or by UDP, the addon completes the checksum and cuts super-packets into packets of the right size
 * (sent with UDP_SEGMENT); a UDP port opened with `merge` joins them again at the other end. JavaScript that changes
 * an address adjusts the checksum as ever, but an unfinished checksum (`NEEDS_CSUM`) covers the pseudo-header only
 * and is not inverted, so that a change of ports leaves it alone.
 */
export { TunTapError } from "./errors.js";
export {
  Field,
  FRAME_STRIDE,
  HEADROOM_BYTES,
  PacketIo,
  type PacketIoOptions,
  type PortStats,
  VNET_HDR_BYTES,
} from "./packet-io.js";
export { moveToNetns, Offload, openTap, type TapDevice, type TapOptions } from "./tap.js";
export { openTcp, type TcpOptions } from "./tcp.js";
export { openUdp, type UdpOptions, type UdpSocket } from "./udp.js";
