/** What a container runs: its command line with `$(NAME)` expanded, and its whole environment. */
import type { Container, Pod, Service } from "../../kube/index.js";
import { type ImageTable, resolveImage } from "../images/index.js";
import { containerEnv, expand, kernelHostname } from "./env.js";

const DEFAULT_PATH = "/usr/sbin:/usr/bin:/sbin:/bin";

/** What a container's command depends on besides its pod. */
export interface CommandContext {
  readonly images: ImageTable;
  readonly services: readonly Service[];
  readonly nodeName: string;
  /** Such as `cluster.local`. */
  readonly zone: string;
  readonly podIp: string;
  /** The second addresses, of a node with IPv6. */
  readonly podIp6?: string | undefined;
  readonly hostIp6?: string | undefined;
  readonly hostIp: string;
}

export interface ContainerCommand {
  readonly command: readonly string[];
  readonly env: Record<string, string>;
}

/**
 * The environment in rising order of weight: what every program needs, the image's, Podwire's, what Kubernetes gives.
 *
 * @throws UnknownImageError nothing stands for the image
 * @throws Error an environment entry comes from something that is not supported
 */
export function containerCommand(pod: Pod, container: Container, context: CommandContext): ContainerCommand {
  const own = containerEnv(pod, container, context.services, context);
  // The image's own words are not Kubernetes' to expand.
  const expanded = (words: readonly string[] = []) => words.map((word) => expand(word, own));
  const given = { ...container, command: expanded(container.command), args: expanded(container.args) };
  const image = resolveImage(given, context.images);
  const env = {
    PATH: process.env.PATH ?? DEFAULT_PATH,
    HOME: "/root",
    HOSTNAME: kernelHostname(pod, context.zone),
    ...image.env,
    PODWIRE_POD: pod.metadata?.name ?? "",
    PODWIRE_NODE: context.nodeName,
    PODWIRE_POD_IP: context.podIp,
    ...own,
  };
  return { command: image.command, env };
}
