/** What a pod's programs find under /var/run/secrets (kubernetes plugin/pkg/admission/serviceaccount). */
import { mkdirSync, readdirSync, readFileSync, realpathSync, rmdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { type Pod, signToken } from "../../kube/index.js";

/** Where every client library looks. */
export const SECRETS_PATH = "/var/run/secrets/kubernetes.io/serviceaccount";

export interface ServiceAccountFiles {
  /** The CA's certificate, in PEM. */
  readonly caFile: string;
  /** What tokens are signed with. */
  readonly keyFile: string;
}

export function serviceAccountName({ spec }: Pod): string {
  return spec?.serviceAccountName || spec?.serviceAccount || "default";
}

/**
 * Writes `token`, `ca.crt` and `namespace` into a directory, for the containers to see them at {@link SECRETS_PATH}.
 *
 * @returns the directory; undefined when the pod does not want them
 */
export function writeServiceAccount(
  pod: Pod,
  podDir: string,
  files: ServiceAccountFiles | undefined,
): string | undefined {
  if (files === undefined || pod.spec?.automountServiceAccountToken === false) return undefined;
  const { namespace = "default" } = pod.metadata ?? {};
  // No container can have this name, whose directories lie beside it.
  const dir = join(podDir, "serviceaccount.d");
  const key = readFileSync(files.keyFile, "utf8");
  const token = signToken({ namespace, name: serviceAccountName(pod) }, key, Date.now());
  // The mount point is the machine's, and stays empty there: the mount is in the container's own namespace.
  mkdirSync(SECRETS_PATH, { recursive: true });
  mkdirSync(dir, { recursive: true, mode: 0o755 });
  writeFileSync(join(dir, "token"), token);
  writeFileSync(join(dir, "ca.crt"), readFileSync(files.caFile));
  writeFileSync(join(dir, "namespace"), namespace);
  return dir;
}

/** Removes the mount point, unless pods of another lab use it: to remove it would take their mounts away. */
export function removeSecretsPath(): void {
  try {
    const path = realpathSync(SECRETS_PATH);
    if (isMounted(path)) return;
    for (const dir of [path, dirname(path), dirname(dirname(path))]) rmdirSync(dir);
  } catch {
    // It is not there, or others keep their own things in it.
  }
}

function isMounted(path: string): boolean {
  return readdirSync("/proc").some((pid) => {
    if (!/^\d+$/.test(pid)) return false;
    try {
      return readFileSync(`/proc/${pid}/mountinfo`, "utf8").includes(` ${path} `);
    } catch {
      return false;
    }
  });
}
