/** kube-proxy's part of a node: follows Services and EndpointSlices and keeps the rules in step with them. */
import { type EndpointSlice, Informer, type KubeClient, type Service } from "../kube/index.js";
import type { Proxier } from "../proxy/index.js";
import { monotonicNow } from "./dataplane.js";

export class ServiceWatch {
  readonly services: Informer<Service>;
  readonly slices: Informer<EndpointSlice>;
  readonly proxier: Proxier;
  readonly #log: (level: "info" | "warn", message: string) => void;
  #scheduled = false;

  constructor(client: KubeClient, proxier: Proxier, log: (level: "info" | "warn", message: string) => void) {
    // The selector with which kube-proxy leaves other proxies' Services alone.
    const labelSelector = "!service.kubernetes.io/headless,!service.kubernetes.io/service-proxy-name";
    this.services = new Informer<Service>(client, "services");
    this.slices = new Informer<EndpointSlice>(client, "endpointslices", { labelSelector });
    this.proxier = proxier;
    this.#log = log;
  }

  start(): void {
    const { proxier } = this;
    const service = (object: Service) => this.#changed(() => proxier.onServiceUpsert(object));
    const slice = (object: EndpointSlice) => this.#changed(() => proxier.onEndpointSliceUpsert(object));
    this.services.start({
      onAdd: service,
      onUpdate: service,
      onDelete: (object) => this.#changed(() => proxier.onServiceDelete(object)),
    });
    this.slices.start({
      onAdd: slice,
      onUpdate: slice,
      onDelete: (object) => this.#changed(() => proxier.onEndpointSliceDelete(object)),
    });
    void this.services.synced.then(() => this.#changed(() => proxier.onServicesSynced()));
    void this.slices.synced.then(() => this.#changed(() => proxier.onEndpointSlicesSynced()));
  }

  stop(): void {
    this.services.stop();
    this.slices.stop();
  }

  /** Applies a change, and syncs once after all changes of this turn. */
  #changed(apply: () => void): void {
    apply();
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      try {
        this.proxier.sync(monotonicNow());
      } catch (error) {
        this.#log("warn", `Service rules not applied: ${(error as Error).message}`);
      }
    });
  }
}
