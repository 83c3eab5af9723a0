import { join } from 'node:path';
import { bazel } from '../../protocols/bazel.js';
import { ccache } from '../../protocols/ccache.js';
import { gradle } from '../../protocols/gradle.js';
import { metro } from '../../protocols/metro.js';
import { nx } from '../../protocols/nx.js';
import { plain } from '../../protocols/plain.js';
import type { Protocol } from '../../protocols/protocol.js';
import { sccache } from '../../protocols/sccache.js';
import { tuist } from '../../protocols/tuist/tuist.js';
import { turborepo } from '../../protocols/turborepo.js';

/** Protocols in the order in which they are matched. `plain` matches every path, so it is last. */
const PROTOCOLS = {
  // tuist is before nx and metro. On the paths that it shares with them, it matches only requests that name a tenant.
  tuist: (dir: string, maxBytes?: number | undefined) =>
    tuist({
      uploadsDir: join(dir, '.hotblob', 'parts'),
      // Parts cannot be evicted. The store evicts artifacts for them.
      maxPartsBytes: maxBytes === undefined ? undefined : Math.ceil(maxBytes / 4),
    }),
  turborepo: () => turborepo(),
  nx: () => nx(),
  metro: () => metro(),
  gradle: () => gradle(),
  bazel: () => bazel(),
  ccache: () => ccache(),
  sccache: () => sccache(),
  plain: () => plain(),
} as const satisfies Record<string, (dir: string, maxBytes?: number | undefined) => Protocol>;

export type ProtocolName = keyof typeof PROTOCOLS;

/** Values that `--protocol` accepts. */
export const PROTOCOL_NAMES = Object.keys(PROTOCOLS) as readonly ProtocolName[]; // Object.keys() loses the literal types

export function isProtocolName(name: string): name is ProtocolName {
  return Object.hasOwn(PROTOCOLS, name);
}

/** Creates the protocols with these names for a store in `dir` with the limit `maxBytes`, in matching order. */
export function createProtocols(
  names: readonly ProtocolName[],
  dir: string,
  maxBytes?: number | undefined,
): Protocol[] {
  return PROTOCOL_NAMES.filter((name) => names.includes(name)).map((name) => PROTOCOLS[name](dir, maxBytes));
}
