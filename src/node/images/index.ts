/** The images table: which local command stands for an image name. */
import { fileURLToPath } from "node:url";
import type { Container } from "../../kube/index.js";

/** A local command that an image name stands for. */
export interface ImageCommand {
  readonly command: readonly string[];
  readonly args?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

export type ImageTable = Readonly<Record<string, ImageCommand>>;

/** Image that needs no entry in the table. A tag makes no difference to it. */
export const ECHO_IMAGE = "podwire/echo";

/** Raised for an image that nothing stands for; the kubelet shows it as ErrImagePull. */
export class UnknownImageError extends Error {
  constructor(image: string) {
    super(`image ${image}: no entry in the topology's images table and not a built-in image (${ECHO_IMAGE})`);
    this.name = "UnknownImageError";
  }
}

/**
 * Command line and extra environment of a container, `command` and `args` overriding the image's as in Kubernetes
 * (empty lists count as missing).
 *
 * @throws UnknownImageError nothing stands for the image
 */
export function resolveImage(
  container: Container,
  table: ImageTable,
): { readonly command: readonly string[]; readonly env: Readonly<Record<string, string>> } {
  const image = container.image ?? "";
  const found = Object.hasOwn(table, image) ? table[image] : builtIn(image, container);
  if (!found) throw new UnknownImageError(image);
  const given = container.command?.length ? container.command : undefined;
  const command = given ?? found.command;
  const args = container.args?.length ? container.args : given ? [] : (found.args ?? []);
  return { command: [...command, ...args], env: found.env ?? {} };
}

function builtIn(image: string, container: Container): ImageCommand | undefined {
  if (image !== ECHO_IMAGE && !image.startsWith(`${ECHO_IMAGE}:`)) return undefined;
  const ports = (container.ports ?? [])
    .map((port) => `${port.containerPort}/${port.protocol ?? "TCP"}`)
    .join(",");
  return {
    command: [process.execPath, fileURLToPath(new URL("./echo.js", import.meta.url))],
    env: ports ? { PODWIRE_PORTS: ports } : {},
  };
}
