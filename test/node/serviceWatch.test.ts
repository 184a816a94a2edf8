/** When a node's proxy says that it knows the Services. */
import { expect, it } from "vitest";
import type { KubeClient, KubeList, KubeObject } from "../../src/kube/index.js";
import { ServiceWatch } from "../../src/node/proxy/serviceWatch.js";
import type { NodeProxier } from "../../src/proxy/index.js";
import { settle } from "../overlay/virtual-clock.js";

/** An API whose lists are given when the test says so, empty as those of a new cluster. */
class LateApi {
  readonly lists = new Map<string, () => void>();
  readonly client = { list: (resource: string) => this.#list(resource), watch: () => never() };

  #list(resource: string): Promise<KubeList<KubeObject>> {
    return new Promise((resolve) => {
      this.lists.set(resource, () => resolve({ items: [], metadata: {} } as unknown as KubeList<KubeObject>));
    });
  }
}

async function* never(): AsyncGenerator<never> {
  await new Promise(() => {});
}

it("is synced when the first lists of both have been applied, empty ones too", async () => {
  const api = new LateApi();
  const told: string[] = [];
  let synced = false;
  const known = new Set<string>();
  const proxier = {
    onServicesSynced: () => known.add("services"),
    onEndpointSlicesSynced: () => known.add("slices"),
    sync: () => told.push(`sync of ${[...known]}`),
    get synced() {
      return known.size === 2;
    },
  } as unknown as NodeProxier;
  const observer = { queued: () => {}, synced: () => told.push("synced"), failed: () => {} };
  const watch = new ServiceWatch(api.client as unknown as KubeClient, proxier, observer);
  void watch.synced.then(() => (synced = true));
  watch.start();
  api.lists.get("services")?.();
  await settle();
  expect([told, synced]).toEqual([["sync of services"], false]);
  api.lists.get("endpointslices")?.();
  await settle();
  expect([told, synced]).toEqual([["sync of services", "sync of services,slices", "synced"], true]);
  watch.stop();
});
