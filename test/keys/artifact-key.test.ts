import test from 'ava';
import { PROTOCOL_NAMES, parseArtifactKey } from '../../src/keys/artifact-key.js';
import { scopePrefix } from '../../src/keys/scope.js';
import { bazel, ccache, gradle, metro, nx, rush, sccache, tuist, turborepo } from '../../src/protocols/index.js';
import { MountedProtocols } from '../../src/protocols/mounted.js';
import { plain } from '../../src/protocols/plain.js';
import type { ProtocolArtifacts } from '../../src/protocols/protocol.js';

const PROTOCOLS = [turborepo(), nx(), bazel(), gradle(), metro(), ccache(), sccache(), rush(), tuist(), plain()];
const HASH = 'ab'.repeat(32);
const TEAM = encodeURIComponent('team a/b%');

/** Requests with and without a namespace, as the tools send them. */
const REQUESTS = [
  `/v8/artifacts/${HASH}?slug=${TEAM}`,
  `/v8/artifacts/${HASH}?teamId=team_1`,
  `/v8/artifacts/${HASH}`,
  `/v1/cache/${HASH}`,
  `/bazel/ac/${HASH}`,
  `/bazel/team/sub%20x/cas/${HASH}`,
  '/gradle/0123456789abcdef0123456789abcdef',
  '/gradle/team%20a/b/0123456789abcdef0123456789abcdef',
  `/metro/${HASH}`,
  `/ccache/${HASH.slice(0, 2)}/${HASH.slice(0, 38)}`,
  `/sccache/project/a/b/a/${HASH}`,
  `/sccache/a/b/a/${HASH}`,
  '/rush/team/key',
  '/rush/key',
  `/api/cache/cas/${HASH}?tenant_id=${encodeURIComponent('a.b c')}&namespace_id=ios`,
  '/some/other/key',
  '/key',
];

test('the scope, protocol and namespace of a key are those that the protocol gave the request', async (t) => {
  const mounted = new MountedProtocols(PROTOCOLS);
  const seen = new Set<string>();
  for (const url of REQUESTS) {
    const { pathname: path, searchParams: query } = new URL(url, 'http://host');
    const recognition = mounted.recognise({ method: 'GET', path, query, headers: {} });
    if (recognition?.operation === undefined || recognition.operation.kind === 'unsupported') {
      t.fail(`${url} is not recognised`);
      continue;
    }
    const { protocol, operation } = recognition;
    let { key } = recognition;
    if (operation.kind === 'answer') {
      // Tuist looks up the generation of the project first.
      const own = { read: async () => undefined };
      const artifacts = { view: '', scopes: [own], own, ...own } as unknown as ProtocolArtifacts;
      const next = await operation.answer(artifacts);
      key = mounted.storeKey(protocol, 'key' in next ? (next.key ?? '') : '');
    }
    t.deepEqual(parseArtifactKey(scopePrefix('pr/7') + key), {
      scope: 'pr/7',
      protocol: protocol.name,
      namespace: operation.namespace,
      key: key ?? '',
    });
    seen.add(protocol.name);
  }
  t.deepEqual([...seen].sort(), [...PROTOCOL_NAMES]);
});
