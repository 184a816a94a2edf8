/** Lifecycle hooks of a container (kubernetes pkg/kubelet/lifecycle/handlers.go). */
import { setTimeout as pause } from "node:timers/promises";
import type { Container } from "../../kube/index.js";
import { type ActionTarget, getHttp, runInside } from "./actions.js";

/** The API passes lifecycle on as it is. */
interface Handler {
  readonly exec?: { readonly command?: readonly string[] };
  readonly httpGet?: Parameters<typeof getHttp>[0];
  readonly sleep?: { readonly seconds?: number };
}

export type HookName = "postStart" | "preStop";

export function hasHook(container: Container, name: HookName): boolean {
  return Boolean(container.lifecycle?.[name]);
}

/** Runs a container's hook, if it has it; rejects when it fails or takes longer than it may. */
export async function runHook(name: HookName, target: ActionTarget, timeoutMs: number): Promise<void> {
  const handler = target.container.lifecycle?.[name] as Handler | undefined;
  if (!handler) return;
  const { exec, httpGet, sleep } = handler;
  if (exec) await runInside(exec.command ?? [], target, timeoutMs);
  else if (httpGet) await getHttp(httpGet, target, timeoutMs);
  else if (sleep) await pause(Math.min((sleep.seconds ?? 0) * 1000, timeoutMs));
  else throw new Error(`lifecycle.${name}: only exec, httpGet and sleep are supported`);
}
