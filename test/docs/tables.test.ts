import { readFile } from 'node:fs/promises';
import test from 'ava';
import { oidcAccess } from '../../src/access/oidc/oidc-access.js';
import { DEFAULTS as OIDC_DEFAULTS } from '../../src/access/oidc/options.js';
import { DEFAULT_MAX_STALE_MS } from '../../src/access/policy-file.js';
import { staticTokens } from '../../src/access/static-tokens.js';
import { tokenFile } from '../../src/access/token-file.js';
import { HotblobError } from '../../src/contract/errors.js';
import { fileArtifact } from '../../src/contract/file-artifact.js';
import { createDashboard } from '../../src/dashboard/dashboard.js';
import { senderSettingsOf, settingsOf } from '../../src/handler/options.js';
import { DEFAULT_WATERMARKS } from '../../src/memory/level.js';
import { systemMemoryPressure } from '../../src/memory/pressure.js';
import { HANDLER_METRICS, PROCESS_METRICS, SERVER_METRICS, STORE_METRICS } from '../../src/metrics/definitions.js';
import { serverSettingsOf } from '../../src/server/options.js';
import { directoryStore } from '../../src/stores/directory/store.js';
import { memoryStore } from '../../src/stores/memory.js';
import { segmentStore } from '../../src/stores/segments/store.js';
import { DEFAULT_LIMITS as TIERED_LIMITS } from '../../src/stores/tiered/options.js';
import { DEFAULT_LIMITS as UPSTREAM_LIMITS } from '../../src/stores/upstream/options.js';
import { settingsOf as conformanceSettingsOf } from '../../src/testing/options.js';
import { accessRequest } from '../access/fixture.js';

const {
  jsonReply: _jsonReply,
  uploadMetadata: _uploadMetadata,
  ...protocols
} = await import('../../src/protocols/index.js');

const access = await readFile('docs/access.md', 'utf8');
const guide = await readFile('docs/writing-a-store.md', 'utf8');
const identity = await readFile('docs/identity.md', 'utf8');
const operating = await readFile('docs/operating.md', 'utf8');
const options = await readFile('docs/options.md', 'utf8');
const server = await readFile('docs/server.md', 'utf8');
const stores = await readFile('docs/stores.md', 'utf8');
const tools = await readFile('docs/build-tools.md', 'utf8');
const threats = await readFile('docs/threat-model.md', 'utf8');

/** Returns the names and defaults of the option tables in the section of a page that begins with `call`. */
function tableOf(call: string, page: string): Map<string, string> {
  const section = page.split(`\`${call}\``)[1]?.split('\n## ')[0] ?? '';
  return rowsOf(section);
}

function rowsOf(section: string): Map<string, string> {
  return new Map([...section.matchAll(/^\| `(\w+)` \| (.*?) \|/gm)].map(([, name = '', text = '']) => [name, text]));
}

/** Returns the option names in the message about an unknown one. */
function namesIn(error: Error | undefined): string[] {
  const [, names = ''] = /one of (?:the options )?([\w, ]+?)(?:, received .*)?$/.exec(error?.message ?? '') ?? [];
  return names.split(', ').sort();
}

test('the threat model names options that exist', (t) => {
  const names = new Set([...threats.matchAll(/`([a-z]+[A-Z]\w+)`/g)].map(([, name = '']) => name));
  const documented = [options, server, stores, access, identity].join('\n');
  t.true(names.size >= 25);
  // Functions, and an option that the handler passes to `put` of a store.
  const others = ['createHandler', 'createServer', 'fileArtifact', 'ifAbsent', 'oidcAccess', 'watchSessions'];
  t.deepEqual(
    [...names].filter((name) => !others.includes(name) && !documented.includes(`\n| \`${name}\` |`)),
    [],
  );
});

test('the tables of createServer have every option with its default', (t) => {
  const documented = tableOf('createServer(listener, options)', server);
  t.deepEqual([...documented.keys()].sort(), namesIn(t.throws(() => serverSettingsOf({ noSuchOption: 1 } as never))));
  for (const [name, value] of Object.entries(serverSettingsOf({}).limits)) t.is(documented.get(name), `\`${value}\``);
});

for (const [call, defaults] of [
  ['upstreamStore(url, options)', UPSTREAM_LIMITS],
  ['tieredStore(options)', TIERED_LIMITS],
] as const) {
  test(`the table of ${call} has every limit with its default`, (t) => {
    const expected = Object.entries(defaults).map(([name, value]) => [name, `\`${value}\``]);
    t.deepEqual([...tableOf(call, stores)], expected);
  });
}

for (const [call, open] of [
  ['directoryStore(dir, options)', (dir: string, options: object) => directoryStore(dir, options)],
  ['segmentStore(dir, options)', (dir: string, options: object) => segmentStore(dir, options)],
] as const) {
  test(`the table of ${call} has every option`, async (t) => {
    const error = await t.throwsAsync(async () => open('package.json', { noSuchOption: 1 }));
    t.deepEqual([...tableOf(call, stores).keys()].sort(), namesIn(error));
  });
}

test('the table of tokenFile has every option with its default', async (t) => {
  const documented = tableOf('tokenFile(path, options)', access);
  const error = await t.throwsAsync(tokenFile('package.json', { noSuchOption: 1 } as never));
  t.deepEqual([...documented.keys()].sort(), namesIn(error));
  t.is(documented.get('maxStaleMs'), `\`${DEFAULT_MAX_STALE_MS}\``);
  t.is(documented.get('anonymous'), "`'none'`");
  t.is(await staticTokens([])(accessRequest(undefined)), 'none');
});

test('the tables of oidcAccess have every property with its default', (t) => {
  const sectionTable = (title: string): Map<string, string> =>
    rowsOf(identity.split(`\n## ${title}\n`)[1]?.split('\n## ')[0] ?? '');
  const issuer = { issuer: 'https://id.example.com', audience: 'x' };
  const rule = { when: { sub: 'x' }, level: 'read' } as const;
  const namesWith = (options: object): string[] =>
    namesIn(t.throws(() => oidcAccess({ issuers: [issuer], rules: [rule], ...options })));
  t.deepEqual([...sectionTable('Rules').keys()].sort(), namesWith({ rules: [{ ...rule, noSuchOption: 1 }] }));
  t.deepEqual([...sectionTable('Issuers').keys()].sort(), namesWith({ issuers: [{ ...issuer, noSuchOption: 1 }] }));
  const options = sectionTable('Options');
  t.deepEqual([...options.keys()].sort(), namesWith({ noSuchOption: 1 }));
  for (const [name, value] of Object.entries(OIDC_DEFAULTS)) t.is(options.get(name), `\`${value}\``);
});

test('the table of staticTokens has every property of a token', (t) => {
  const documented = tableOf('staticTokens(tokens, options)', access);
  const error = t.throws(() => staticTokens([{ noSuchProperty: 1 } as never]));
  t.deepEqual([...documented.keys()].sort(), namesIn(error));
});

test('the table of createHandler has every option with its default', (t) => {
  const documented = tableOf('createHandler(options)', options);
  const error = t.throws(() => settingsOf({ store: memoryStore(), noSuchOption: 1 } as never));
  t.deepEqual([...documented.keys()].sort(), namesIn(error));

  const { mountPath, fallthrough, maxUploadBytes, policy, processes, timing } = settingsOf({ store: memoryStore() });
  t.is(documented.get('mountPath'), `\`'${mountPath || '/'}'\``);
  t.is(documented.get('fallthrough'), `\`${fallthrough}\``);
  t.is(documented.get('maxUploadBytes'), `\`${maxUploadBytes}\``);
  t.is(documented.get('map'), `\`'${policy.map}'\``);
  t.is(documented.get('processes'), `\`${processes}\``);
  t.is(documented.get('timing'), `\`${timing}\``);
});

test('the options of senders are named, and are options of handlers', (t) => {
  const error = t.throws(() => senderSettingsOf({ noSuchOption: 1 } as never));
  const section = options.split('\n## Senders\n')[1]?.split('\n## ')[0] ?? '';
  const documented = [...section.matchAll(/`(\w+)`/g)].map(([, name = '']) => name);
  t.deepEqual(documented.sort(), namesIn(error));
});

test('the table of fileArtifact has every option', (t) => {
  const error = t.throws(() => fileArtifact('/a', { noSuchOption: 1 } as never));
  t.deepEqual([...tableOf('fileArtifact(path, options)', options).keys()].sort(), namesIn(error));
});

test('the table of systemMemoryPressure has every option with its default', (t) => {
  const documented = tableOf('systemMemoryPressure(options)', options);
  const error = t.throws(() => systemMemoryPressure({ noSuchOption: 1 } as never));
  t.deepEqual([...documented.keys()].sort(), namesIn(error));
  for (const [name, value] of Object.entries(DEFAULT_WATERMARKS)) t.is(documented.get(name), `\`${value}\``);
});

test('the table of protocols has every one with the default of its path', (t) => {
  const section = tools.split('\n## Protocols in your own handler\n')[1] ?? '';
  const rows = [...section.matchAll(/^\| `(\w+)\(.*?\)` \| (?:`'(.*?)'`)? ?\|/gm)];
  t.deepEqual(rows.map(([, name]) => name).sort(), Object.keys(protocols).sort());
  const query = new URLSearchParams();
  for (const [, name = '', path = ''] of rows.filter((row) => row[2] !== undefined && row[2] !== '')) {
    const { route } = protocols[name as 'gradle']();
    // Everything below the path of a protocol belongs to it: a malformed key there is an error.
    t.throws(
      () => route({ method: 'GET', path: `${path}/%2f`, query, headers: {} }),
      { instanceOf: HotblobError },
      name,
    );
    t.is(route({ method: 'GET', path: '/other/%2f', query, headers: {} }), undefined, name);
  }
});

test('the tables of storeConformance have every option and capability with its default', (t) => {
  const required = { test: () => {}, createStore: memoryStore };
  const refused = (given: object) => t.throws(() => conformanceSettingsOf({ ...required, ...given } as never));
  const settings = conformanceSettingsOf(required);
  const [before = '', after = ''] = guide.split('\n`capabilities` says');

  const documented = tableOf('storeConformance(options)', before);
  t.deepEqual([...documented.keys()].sort(), namesIn(refused({ noSuchOption: 1 })));
  t.is(documented.get('name'), `\`'${settings.name}'\``);
  t.is(documented.get('largeBytes'), `\`${settings.largeBytes}\``);
  t.is(documented.get('timeoutMs'), `\`${settings.timeoutMs}\``);

  const capabilities = tableOf('capabilities', `\`capabilities\`${after}`);
  t.deepEqual([...capabilities.keys()].sort(), namesIn(refused({ capabilities: { noSuchCapability: 1 } })));
  for (const name of ['writable', 'ranges', 'reportsCreated', 'survivesDelete', 'ifAbsent', 'metadata'] as const) {
    t.is(capabilities.get(name), `\`${settings.capabilities[name]}\``, name);
  }
});

test('the table of metrics has each with its type and help', (t) => {
  const documented = [...operating.matchAll(/^\| `(hotblob_\w+)` \| (\w+) \| (.*) \|$/gm)].map((row) =>
    row.slice(1, 4),
  );
  const metrics = [...HANDLER_METRICS, ...SERVER_METRICS, ...STORE_METRICS, ...PROCESS_METRICS];
  t.deepEqual(
    documented,
    metrics.map(({ name, type, help }) => [name, type, help]),
  );
});

test('the table of createDashboard has every option', (t) => {
  const [, rows = ''] = /\n\n(\| option \|.*?)\n\n/s.exec(operating) ?? [];
  const documented = [...rows.matchAll(/^\| `(\w+)` \|/gm)].map(([, name = '']) => name);
  t.deepEqual(documented.sort(), namesIn(t.throws(() => createDashboard({ noSuchOption: 1 } as never))));
});

test('the table of reasons has every reason why a file is not mapped', async (t) => {
  const page = await readFile('docs/troubleshooting.md', 'utf8');
  const section = page.split('\n## Nothing is mapped\n')[1]?.split('\n## ')[0] ?? '';
  const documented = [...section.matchAll(/^\| `([a-z-]+)` \|/gm)].map(([, name = '']) => name);
  const sources = await Promise.all(
    ['src/send/tally.ts', 'src/page-cache/open-file.ts'].map((path) => readFile(path, 'utf8')),
  );
  const types = sources
    .map((text) => /export type (?:UnmappedReason|MapRefusal) =(.*?);\n/s.exec(text)?.[1] ?? '')
    .join('');
  const reasons = [...types.matchAll(/^ {2}\| '([a-z-]+)'/gm)].map(([, name = '']) => name);
  t.true(reasons.length >= 15);
  t.deepEqual(documented.sort(), reasons.sort());
});
