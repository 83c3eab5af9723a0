import { join } from 'node:path';
import { bazel } from '../../protocols/bazel/bazel.js';
import { ccache } from '../../protocols/ccache.js';
import { gradle } from '../../protocols/gradle.js';
import { metro } from '../../protocols/metro.js';
import { nx } from '../../protocols/nx.js';
import { plain } from '../../protocols/plain.js';
import type { Protocol } from '../../protocols/protocol.js';
import { rush } from '../../protocols/rush.js';
import { sccache } from '../../protocols/sccache.js';
import { tuist } from '../../protocols/tuist/tuist.js';
import { turborepo } from '../../protocols/turborepo.js';
import { RESERVED_NAME } from '../../stores/directory/paths.js';
import type { ServedStore, ServedStoreOptions } from './open-store.js';

/** Store of the server, as far as protocols need it: options of `openStore`. */
export type ProtocolContext = Pick<ServedStoreOptions, 'dir'> &
  Partial<Pick<ServedStoreOptions, 'maxBytes' | 'groupAccess'> & Pick<ServedStore, 'countBytes'>>;

/** Protocols in the order in which they are matched. `plain` matches every path, so it is last. */
const PROTOCOLS = {
  // tuist is before nx and metro. On the paths that it shares with them, it matches only requests that name a tenant.
  tuist: ({ dir, maxBytes, groupAccess, countBytes }: ProtocolContext) =>
    tuist({
      uploadsDir: join(dir, RESERVED_NAME, 'parts'),
      // Parts cannot be evicted. A directory store evicts artifacts for them; in a segment store, they are in addition to
      // `maxBytes`.
      maxPartsBytes: maxBytes === undefined ? undefined : Math.ceil(maxBytes / 4),
      groupAccess,
      onPartsBytes: countBytes,
    }),
  turborepo: () => turborepo(),
  nx: () => nx(),
  metro: () => metro(),
  gradle: () => gradle(),
  bazel: () => bazel(),
  ccache: () => ccache(),
  sccache: () => sccache(),
  rush: () => rush(),
  plain: () => plain(),
} as const satisfies Record<string, (context: ProtocolContext) => Protocol>;

export type ProtocolName = keyof typeof PROTOCOLS;

/** Values that `--protocol` accepts. */
export const PROTOCOL_NAMES = Object.keys(PROTOCOLS) as readonly ProtocolName[]; // Object.keys() loses the literal types

/** Creates the protocols with these names, in matching order. */
export function createProtocols(names: readonly ProtocolName[], context: ProtocolContext): Protocol[] {
  return PROTOCOL_NAMES.filter((name) => names.includes(name)).map((name) => PROTOCOLS[name](context));
}
