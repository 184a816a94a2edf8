/** The API server that a node is told to ask. */
import { readFileSync } from "node:fs";
import { HttpKubeClient, type KubeClient } from "../kube/index.js";
import type { NodeConfig } from "./config.js";
import { NodeSetupError } from "./errors.js";

/** @throws NodeSetupError the configuration names none */
export function apiClient(config: NodeConfig): KubeClient {
  const { socketPath, baseUrl, tokenFile } = config.api;
  if (socketPath) return new HttpKubeClient({ socketPath });
  if (!baseUrl)
    throw new NodeSetupError("the node's configuration names no API server (api.socketPath or api.baseUrl)");
  return new HttpKubeClient({
    baseUrl,
    ...(tokenFile ? { token: readFileSync(tokenFile, "utf8").trim() } : {}),
  });
}
