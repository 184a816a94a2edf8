import fc from "fast-check";
import { expect, it } from "vitest";
import { Cluster, eventually, replicationController, service } from "./cluster.js";

type Step =
  | { readonly do: "scale"; readonly to: number }
  | { readonly do: "delete" | "fail" | "unready" | "ready"; readonly which: number }
  | { readonly do: "restart" };

const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ do: fc.constant("scale" as const), to: fc.nat(8) }),
  fc.record({
    do: fc.constantFrom("delete" as const, "fail" as const, "unready" as const, "ready" as const),
    which: fc.nat(20),
  }),
  fc.record({ do: fc.constant("restart" as const) }),
);

async function perform(cluster: Cluster, one: Step): Promise<void> {
  if (one.do === "scale") return cluster.scale("replicationcontrollers", "web", one.to);
  if (one.do === "restart") {
    await cluster.stopControllers();
    return cluster.startControllers();
  }
  const pods = await cluster.pods();
  const name = pods[one.which % Math.max(1, pods.length)]?.metadata?.name;
  if (name === undefined) return;
  if (one.do === "delete") return cluster.client.delete("pods", "default", name);
  await cluster.setPod(
    name,
    one.do === "fail" ? { phase: "Failed", ready: false } : { ready: one.do === "ready" },
  );
}

it("whatever happens, the replicas converge and the endpoints are the ready pods", async () => {
  const steps = fc.array(step, { minLength: 1, maxLength: 12 });
  await fc.assert(
    fc.asyncProperty(steps, async (churn) => {
      const cluster = await Cluster.start();
      await cluster.client.create("services", service("web"));
      await cluster.client.create("replicationcontrollers", replicationController("web", 3));
      let replicas = 3;
      for (const one of churn) {
        // A pod may be gone before the step reaches it.
        await perform(cluster, one).catch((error: Error) => expect(error.message).toMatch(/not found/));
        if (one.do === "scale") replicas = one.to;
      }
      await eventually(async () => {
        const active = (await cluster.pods()).filter((pod) => pod.status?.phase !== "Failed");
        expect(active.length).toBe(replicas);
        const ready = active.filter((pod) =>
          pod.status?.conditions?.some(({ type, status }) => type === "Ready" && status === "True"),
        );
        const ips = ready.map((pod) => pod.status?.podIP ?? "").sort();
        expect((await cluster.addresses("web")).ready).toEqual(ips);
        expect(await cluster.sliceAddresses("web")).toEqual(ips);
        expect(active.every((pod) => pod.status?.podIP)).toBe(true);
      });
    }),
    { numRuns: 12 },
  );
}, 60_000);
