/** Turns an errno and the step that failed into one sentence that says what to do. */

/** Error of this package. `code` is an errno name such as `EPERM`, or `ADDON_MISSING`. */
export class TunTapError extends Error {
  override readonly name = "TunTapError";
  constructor(
    readonly code: string,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

/** What was being done, for the sentence. */
export interface ErrorContext {
  /** Such as `open TAP device eth0`. */
  readonly what: string;
  readonly netns?: string | undefined;
}

const NO_PRIVILEGE = "run as root or with CAP_NET_ADMIN (and CAP_SYS_ADMIN to enter a namespace)";

/** Advice by step of the addon and errno name; a step alone applies to each of its errors. */
const ADVICE: Readonly<Record<string, string>> = {
  "open /dev/net/tun ENOENT": "there is no /dev/net/tun: load the driver with `modprobe tun`",
  "open /dev/net/tun ENODEV": "the kernel has no TUN/TAP driver: load it with `modprobe tun`",
  "open /dev/net/tun ENXIO": "the kernel has no TUN/TAP driver: load it with `modprobe tun`",
  "TUNSETIFF EBUSY": "another process holds the device: end that process or choose another name",
  "TUNSETIFF EINVAL":
    "a device of that name exists and is not of the same kind (tap, tun, other), or the name is not valid",
  name: "an interface name has 1 to 15 bytes, no slash, colon or space",
  "open netns ENOENT": "there is no such network namespace: create it with `ip netns add NAME`",
  "open netns": "the namespace file cannot be opened",
  "setns EINVAL": "that file is not a network namespace: give a path such as /run/netns/NAME",
  if_nametoindex: "there is no such interface in the namespace of this process",
  "rtnetlink move EEXIST": "the namespace already has an interface of that name",
  "rtnetlink move EINVAL": "that file is not a network namespace, or the interface cannot be moved",
  address: "the local address must be an IPv4 address in dotted form, or for TCP an IPv6 address",
  "bind EADDRINUSE": "another socket is bound to that address and port",
  "bind EADDRNOTAVAIL": "no interface of this machine has that address",
  "bind EACCES": "a port below 1024 needs root or CAP_NET_BIND_SERVICE",
  "add port EEXIST": "it is a port of this PacketIo already",
  "add port ENOSPC": "a PacketIo holds 1024 ports at most",
  arguments: "an argument is missing or of the wrong kind",
  closed: "the PacketIo is closed",
};

/** Wraps an error of the addon in a {@link TunTapError}; `context` names the place. */
export function explain(error: unknown, context: ErrorContext): TunTapError {
  if (error instanceof TunTapError) return error;
  const code = error instanceof Error && "code" in error ? String(error.code) : "UNKNOWN";
  const step = error instanceof Error ? error.message : String(error);
  const privilege = code === "EPERM" || (code === "EACCES" && step !== "bind") ? NO_PRIVILEGE : undefined;
  const advice = ADVICE[`${step} ${code}`] ?? privilege ?? ADVICE[step] ?? `${step} failed`;
  const place = context.netns ? ` in namespace ${context.netns}` : "";
  return new TunTapError(code, `cannot ${context.what}${place}: ${advice} (${code})`, { cause: error });
}
