/** TUN/TAP devices: open, re-attach, keep, move. */
import { explain } from "./errors.js";
import { native } from "./native.js";

/** Offloads of a TAP (`TUN_F_*`, linux/if_tun.h). */
export const Offload = { csum: 0x01, tso4: 0x02, tso6: 0x04, uso4: 0x20, uso6: 0x40 } as const;

/** How to open a device. */
export interface TapOptions {
  /** Interface name of up to 15 bytes; `%d` is replaced by a number. Left out: the kernel chooses. */
  readonly name?: string;
  /** `tap` (default) carries Ethernet frames, `tun` carries IP packets. */
  readonly mode?: "tap" | "tun";
  /** Path of the network namespace to create the device in, such as `/run/netns/web`. Left out: that of the process. */
  readonly netns?: string;
  /** Put a `virtio_net_hdr` before each frame, so that checksums and segmentation can be left undone. Default false. */
  readonly vnetHdr?: boolean;
  /** With `vnetHdr`: accept unfinished checksums and super-packets from the kernel. Default true. */
  readonly offloads?: boolean;
  /** Keep the device when its descriptor is closed. Default false. */
  readonly persist?: boolean;
}

/** An open device. The descriptor works here whatever namespace the device is in, or is moved to. */
export class TapDevice {
  readonly name: string;
  readonly mode: "tap" | "tun";
  readonly vnetHdr: boolean;
  /** Bits of {@link Offload} that the kernel accepted; 0 without `vnetHdr`. */
  readonly offloads: number;
  readonly #onClose = new Set<() => void>();
  #fd: number;

  /** @internal use {@link openTap} */
  constructor(fd: number, name: string, options: TapOptions, offloads: number) {
    this.#fd = fd;
    this.name = name;
    this.mode = options.mode ?? "tap";
    this.vnetHdr = options.vnetHdr ?? false;
    this.offloads = offloads;
  }

  /** The descriptor, -1 once closed. */
  get fd(): number {
    return this.#fd;
  }

  /** Whether the device outlives its descriptor. */
  setPersist(persist: boolean): void {
    try {
      native().setPersist(this.#fd, persist);
    } catch (error) {
      throw explain(error, { what: `change persistence of ${this.name}` });
    }
  }

  /** Leaves its PacketIo and closes the descriptor; the device goes unless it is persistent. May be called twice. */
  close(): void {
    if (this.#fd < 0) return;
    for (const leave of this.#onClose) leave();
    this.#onClose.clear();
    native().closeFd(this.#fd);
    this.#fd = -1;
  }

  /** @internal Runs `leave` before the descriptor is closed; the result takes it back. */
  beforeClose(leave: () => void): () => void {
    this.#onClose.add(leave);
    return () => this.#onClose.delete(leave);
  }
}

/**
 * Creates a device, or attaches to the persistent one of that name. The descriptor holds a reference to the
 * namespace that it was opened in.
 *
 * @throws TunTapError one sentence that says what to do; `code` is the errno name
 */
export function openTap(options: TapOptions = {}): TapDevice {
  const { name = "", mode = "tap", netns = "", vnetHdr = false, offloads = true, persist = false } = options;
  try {
    const opened = native().openTap(name, netns, mode === "tun", vnetHdr, persist, offloads);
    return new TapDevice(opened.fd, opened.name, options, opened.granted);
  } catch (error) {
    throw explain(error, { what: `open ${mode.toUpperCase()} device ${name || "(any name)"}`, netns });
  }
}

/**
 * Moves an interface from the namespace of this process into another (rtnetlink `IFLA_NET_NS_FD`). Open descriptors
 * of a TAP go on working; the kernel sets the link down and removes its addresses on the way.
 *
 * @throws TunTapError
 */
export function moveToNetns(interfaceName: string, netnsPath: string): void {
  try {
    native().moveToNetns(interfaceName, netnsPath);
  } catch (error) {
    throw explain(error, { what: `move ${interfaceName} to namespace ${netnsPath}` });
  }
}
