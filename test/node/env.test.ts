/** The environment that Kubernetes gives a container (pkg/kubelet/envvars, third_party/forked/golang/expansion). */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Container, Pod, Service } from "../../src/kube/index.js";
import { containerEnv, expand, kernelHostname, podHostname, serviceEnv } from "../../src/node/pods/env.js";

type Port = { name?: string; port: number; protocol?: string };

function service(name: string, clusterIP: string | undefined, ports: Port[]): Service {
  return { metadata: { name }, spec: { clusterIP, ports } } as Service;
}

const VALUES = { podIp: "172.16.5.9", hostIp: "10.0.0.12" };

function podWith(container: Partial<Container>, spec: object = {}): [Pod, Container] {
  const only = { name: "main", image: "podwire/echo", ...container } as Container;
  const metadata = {
    name: "web-0",
    namespace: "shop",
    uid: "u-1",
    labels: { app: "web" },
    annotations: { "a/b": "c" },
  };
  return [
    {
      metadata,
      spec: { nodeName: "node-1", serviceAccountName: "robot", containers: [only], ...spec },
    } as Pod,
    only,
  ];
}

const envOf = (container: Partial<Container>, services: Service[] = [], spec: object = {}) =>
  containerEnv(...podWith(container, spec), services, VALUES);

describe("Service variables", () => {
  it("of a Service with one unnamed port", () => {
    expect(serviceEnv([service("redis-primary", "10.0.0.11", [{ port: 6379 }])])).toEqual({
      REDIS_PRIMARY_SERVICE_HOST: "10.0.0.11",
      REDIS_PRIMARY_SERVICE_PORT: "6379",
      REDIS_PRIMARY_PORT: "tcp://10.0.0.11:6379",
      REDIS_PRIMARY_PORT_6379_TCP: "tcp://10.0.0.11:6379",
      REDIS_PRIMARY_PORT_6379_TCP_PROTO: "tcp",
      REDIS_PRIMARY_PORT_6379_TCP_PORT: "6379",
      REDIS_PRIMARY_PORT_6379_TCP_ADDR: "10.0.0.11",
    });
  });

  it("of several named ports: the first is the Service's, each has its own", () => {
    const dns = service("dns", "10.0.0.10", [
      { name: "dns-udp", port: 53, protocol: "UDP" },
      { name: "metrics", port: 9153, protocol: "TCP" },
    ]);
    expect(serviceEnv([dns])).toEqual({
      DNS_SERVICE_HOST: "10.0.0.10",
      DNS_SERVICE_PORT: "53",
      DNS_SERVICE_PORT_DNS_UDP: "53",
      DNS_SERVICE_PORT_METRICS: "9153",
      DNS_PORT: "udp://10.0.0.10:53",
      DNS_PORT_53_UDP: "udp://10.0.0.10:53",
      DNS_PORT_53_UDP_PROTO: "udp",
      DNS_PORT_53_UDP_PORT: "53",
      DNS_PORT_53_UDP_ADDR: "10.0.0.10",
      DNS_PORT_9153_TCP: "tcp://10.0.0.10:9153",
      DNS_PORT_9153_TCP_PROTO: "tcp",
      DNS_PORT_9153_TCP_PORT: "9153",
      DNS_PORT_9153_TCP_ADDR: "10.0.0.10",
    });
  });

  it.each([
    ["headless", service("a", "None", [{ port: 1 }])],
    ["ExternalName", service("a", undefined, [{ port: 1 }])],
    ["not yet allocated", service("a", "", [{ port: 1 }])],
    ["without ports", service("a", "10.0.0.1", [])],
  ])("none for a Service that is %s", (_what, one) => {
    expect(serviceEnv([one])).toEqual({});
  });

  it("are left out when the pod does not want links, and give way to the pod's own", () => {
    const services = [service("mysql", "10.0.0.5", [{ port: 3306 }])];
    expect(envOf({}, services, { enableServiceLinks: false })).toEqual({});
    const own = envOf({ env: [{ name: "MYSQL_SERVICE_HOST", value: "mysql" }] }, services);
    expect(own.MYSQL_SERVICE_HOST).toBe("mysql");
    expect(own.MYSQL_SERVICE_PORT).toBe("3306");
  });
});

describe("$(NAME)", () => {
  const env = { A: "1", B: "$(A)", "with.dot": "d", EMPTY: "" };

  it.each([
    ["$(A)", "1"],
    ["x$(A)y$(A)", "x1y1"],
    ["$(B)", "$(A)"],
    ["$(EMPTY)|", "|"],
    ["$(with.dot)", "d"],
    ["$(NO)", "$(NO)"],
    ["$(constructor)", "$(constructor)"],
    ["$()", "$()"],
    ["$(A", "$(A"],
    [`$A \${A} $`, `$A \${A} $`],
    ["$$(A)", "$(A)"],
    ["$$$(A)", "$1"],
    ["$$$$(A)", "$$(A)"],
    ["$(NO$(A))", "$(NO$(A))"],
    ["$(A$$B)", "$(A$$B)"],
    ["$(A$$B", "$(A$B"],
  ])("%s becomes %s", (text, expected) => {
    expect(expand(text, env)).toBe(expected);
  });

  /** The rules character by character, as the documentation tells them. */
  function expandSlowly(text: string, known: Readonly<Record<string, string>>): string {
    let out = "";
    for (let at = 0; at < text.length; at++) {
      const next = text[at + 1];
      const close = text.indexOf(")", at);
      if (text[at] !== "$") out += text[at];
      else if (next === "$") {
        out += "$";
        at++;
      } else if (next === "(" && close !== -1) {
        const name = text.slice(at + 2, close);
        out += new Map(Object.entries(known)).get(name) ?? `$(${name})`;
        at = close;
      } else out += "$";
    }
    return out;
  }

  it("follows the rules for any text", () => {
    const piece = fc.constantFrom("$", "(", ")", "A", "B", "NO", " ", "$(A)", "$$", "with.dot");
    const text = fc.array(piece, { maxLength: 20 }).map((pieces) => pieces.join(""));
    fc.assert(fc.property(text, (value) => expand(value, env) === expandSlowly(value, env)));
  });

  it("sees Services and earlier entries, not later ones nor what the program would inherit", () => {
    const entries = [
      { name: "URL", value: "http://$(DB_SERVICE_HOST):$(DB_SERVICE_PORT)/$(LATER)" },
      { name: "LATER", value: "$(URL)" },
      { name: "SEARCH", value: "$(PATH) $(HOSTNAME)" },
      { name: "BARE" },
    ];
    expect(envOf({ env: entries }, [service("db", "10.0.0.9", [{ port: 5432 }])])).toMatchObject({
      URL: "http://10.0.0.9:5432/$(LATER)",
      LATER: "http://10.0.0.9:5432/$(LATER)",
      SEARCH: "$(PATH) $(HOSTNAME)",
      BARE: "",
    });
  });
});

describe("field refs", () => {
  it.each([
    ["metadata.name", "web-0"],
    ["metadata.namespace", "shop"],
    ["metadata.uid", "u-1"],
    ["metadata.labels['app']", "web"],
    ["metadata.labels['missing']", ""],
    ["metadata.annotations['a/b']", "c"],
    ["spec.nodeName", "node-1"],
    ["spec.serviceAccountName", "robot"],
    ["status.podIP", "172.16.5.9"],
    ["status.podIPs", "172.16.5.9"],
    ["status.hostIP", "10.0.0.12"],
  ])("%s is %s", (fieldPath, expected) => {
    expect(envOf({ env: [{ name: "X", valueFrom: { fieldRef: { fieldPath } } }] })).toEqual({ X: expected });
  });

  it("that name something else are refused", () => {
    const env = [{ name: "X", valueFrom: { fieldRef: { fieldPath: "spec.color" } } }];
    expect(() => envOf({ env })).toThrow("unsupported fieldPath spec.color");
  });
});

describe("what is not supported is refused, not left empty", () => {
  it("a value from a ConfigMap", () => {
    const env = [{ name: "COLOR", valueFrom: { configMapKeyRef: { name: "c", key: "k" } } }];
    expect(() => envOf({ env })).toThrow("env COLOR: valueFrom is supported for fieldRef only");
  });

  it("envFrom, unless it is optional", () => {
    expect(() => envOf({ envFrom: [{ secretRef: { name: "s" } }] })).toThrow("envFrom");
    expect(envOf({ envFrom: [{ configMapRef: { name: "c", optional: true } }] })).toEqual({});
  });
});

describe("the host name", () => {
  it("is the pod's name, or what its spec says", () => {
    expect(podHostname(podWith({})[0])).toBe("web-0");
    expect(podHostname(podWith({}, { hostname: "db" })[0])).toBe("db");
  });

  it("is cut to 63 characters that do not end in a dash", () => {
    const name = `${"a".repeat(62)}-${"b".repeat(20)}`;
    expect(podHostname({ metadata: { name } })).toBe("a".repeat(62));
  });
});

describe("the host name that programs see", () => {
  const pod = (spec: object, name = "web-0") =>
    ({ metadata: { name, namespace: "shop" }, spec: { containers: [], ...spec } }) as Pod;

  it("is the fully qualified one where the pod asks for it and has a subdomain", () => {
    const asked = { setHostnameAsFQDN: true };
    expect(kernelHostname(pod({ ...asked, subdomain: "web" }), "lab.local")).toBe(
      "web-0.web.shop.svc.lab.local",
    );
    expect(kernelHostname(pod({ ...asked, subdomain: "web", hostname: "a" }), "x")).toBe("a.web.shop.svc.x");
    expect(kernelHostname(pod(asked), "lab.local")).toBe("web-0");
    expect(kernelHostname(pod({ subdomain: "web" }), "lab.local")).toBe("web-0");
  });

  it("a fully qualified name of 65 characters is refused, one of 64 is not", () => {
    const spec = { setHostnameAsFQDN: true, subdomain: "web" };
    const of = (length: number) => pod(spec, "n".repeat(length - ".web.shop.svc.cluster.local".length));
    expect(kernelHostname(of(64), "cluster.local")).toHaveLength(64);
    expect(() => kernelHostname(of(65), "cluster.local")).toThrow(
      "is too long (64 characters is the max, 65 characters requested)",
    );
  });
});
