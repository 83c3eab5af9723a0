import { spawn } from 'node:child_process';
import { readdir, readFile } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3';
import test, { type ExecutionContext } from 'ava';
import { staticTokens } from '../../src/access/static-tokens.js';
import { DEFAULT_MAX_STALE_MS, tokenFile } from '../../src/access/token-file.js';
import { type ErrorCode, HotblobError, statusOf } from '../../src/contract/errors.js';
import { createDashboard } from '../../src/dashboard/dashboard.js';
import { settingsOf } from '../../src/handler/options.js';
import { HANDLER_METRICS, SERVER_METRICS, STORE_METRICS } from '../../src/metrics/definitions.js';
import { serverSettingsOf } from '../../src/server/options.js';
import { memoryStore } from '../../src/stores/memory.js';
import { DEFAULT_LIMITS as TIERED_LIMITS } from '../../src/stores/tiered/options.js';
import { DEFAULT_LIMITS as UPSTREAM_LIMITS } from '../../src/stores/upstream/options.js';
import { settingsOf as conformanceSettingsOf } from '../../src/testing/options.js';
import { CREDENTIALS, S3rver } from '../helpers/s3rver.js';
import { runSnippet, snippetsOf, titleOf } from '../helpers/snippets.js';

const readme = await readFile('README.md', 'utf8');
const guide = await readFile('docs/writing-a-store.md', 'utf8');

const pages = [
  'README.md',
  ...(await readdir('docs')).filter((name) => name.endsWith('.md')).map((name) => `docs/${name}`),
];
const snippets = await Promise.all(pages.map(snippetsOf));

/** What a page takes from the environment. */
const ENVIRONMENTS: Readonly<Record<string, (t: ExecutionContext) => Promise<Record<string, string>>>> = {
  'docs/s3.md': async (t) => {
    const service = await S3rver.start();
    t.teardown(() => service.stop());
    const endpoint = `http://127.0.0.1:${service.port}`;
    const client = new S3Client({ endpoint, region: 'us-east-1', credentials: CREDENTIALS });
    await client.send(new CreateBucketCommand({ Bucket: 'builds' }));
    client.destroy();
    return {
      AWS_ENDPOINT_URL: endpoint,
      AWS_REGION: 'us-east-1',
      AWS_ACCESS_KEY_ID: CREDENTIALS.accessKeyId,
      AWS_SECRET_ACCESS_KEY: CREDENTIALS.secretAccessKey,
    };
  },
};

for (const page of snippets) {
  for (const snippet of page) {
    test(`${titleOf(snippet)} runs`, async (t) => {
      const environment = await ENVIRONMENTS[snippet.page]?.(t);
      await runSnippet(t, snippet, environment === undefined ? { page } : { page, environment });
    });
  }
}

test('the snippets are there', (t) => {
  t.true(snippets.flat().length >= 9);
});

test('the table of threats names limits that there are', async (t) => {
  const page = await readFile('docs/threats.md', 'utf8');
  const limits = new Set([...page.matchAll(/`([a-z]+[A-Z]\w+)`/g)].map(([, name = '']) => name));
  t.true(limits.size >= 25);
  t.deepEqual(
    [...limits].filter((name) => !new RegExp(`\\b${name}\\b`).test(readme)),
    [],
  );
});

test('the first screen shows the one line', (t) => {
  const screen = readme.split('\n').slice(0, 24).join('\n');
  t.regex(screen, /await hot\.send\(request, response, artifact\)/);
});

/** The option table below a call: names and defaults. */
function tableOf(call: string, page = readme): Map<string, string> {
  const [, rest = ''] = page.split(`\`${call}\``);
  const table = /\n\n(\|.*?)\n\n/s.exec(rest)?.[1] ?? '';
  return new Map([...table.matchAll(/^\| `(\w+)` \| (.*?) \|/gm)].map(([, name = '', text = '']) => [name, text]));
}

/** The options that an error about an unknown one names. */
function namesIn(error: Error | undefined): string[] {
  return (
    /one of the options (.*), found/
      .exec(error?.message ?? '')?.[1]
      ?.split(', ')
      .sort() ?? []
  );
}

test('the option table of the server names every option, and the defaults that the code has', (t) => {
  const documented = tableOf('createServer(listener, options)');
  t.deepEqual([...documented.keys()].sort(), namesIn(t.throws(() => serverSettingsOf({ noSuchOption: 1 } as never))));
  for (const [name, value] of Object.entries(serverSettingsOf({}).limits)) t.is(documented.get(name), `\`${value}\``);
});

for (const [call, defaults] of [
  ['upstreamStore(url, options)', UPSTREAM_LIMITS],
  ['tieredStore({ local, remote, writes, queueDir, spoolDir })', TIERED_LIMITS],
] as const) {
  test(`the table of ${call} names every limit, and the default that the code has`, (t) => {
    const expected = Object.entries(defaults).map(([name, value]) => [name, `\`${value}\``]);
    t.deepEqual([...tableOf(call)], expected);
  });
}

test('the table of tokens names every option, and the default that the code has', async (t) => {
  const documented = tableOf('tokenFile(path, options)');
  const refused = await t.throwsAsync(tokenFile('package.json', { noSuchOption: 1 } as never));
  t.deepEqual([...documented.keys()].sort(), namesIn(refused));
  t.is(documented.get('maxStaleMs'), `\`${DEFAULT_MAX_STALE_MS}\``);
  t.is(documented.get('anonymous'), "`'none'`");
  t.is(await staticTokens([])({ credentials: undefined, protocol: 'plain' }), 'none');
});

test('the option table names every option, and the defaults that the code has', (t) => {
  const documented = tableOf('createHandler(options)');
  const error = t.throws(() => settingsOf({ store: memoryStore(), noSuchOption: 1 } as never));
  t.deepEqual([...documented.keys()].sort(), namesIn(error));

  const { mountPath, fallthrough, maxUploadBytes, policy } = settingsOf({ store: memoryStore() });
  t.is(documented.get('mountPath'), `\`'${mountPath || '/'}'\``);
  t.is(documented.get('fallthrough'), `\`${fallthrough}\``);
  t.is(documented.get('maxUploadBytes'), `\`${maxUploadBytes}\``);
  t.is(documented.get('map'), `\`'${policy.map}'\``);
  t.is(policy.only, undefined);
});

test('the tables of the conformance suite name every option and capability, and the defaults that the code has', (t) => {
  const required = { test: () => {}, createStore: memoryStore };
  const refused = (options: object) => t.throws(() => conformanceSettingsOf({ ...required, ...options } as never));
  const settings = conformanceSettingsOf(required);

  const options = tableOf('storeConformance(options)', guide);
  t.deepEqual([...options.keys()].sort(), namesIn(refused({ noSuchOption: 1 })));
  t.is(options.get('name'), `\`'${settings.name}'\``);
  t.is(options.get('largeBytes'), `\`${settings.largeBytes}\``);
  t.is(options.get('timeoutMs'), `\`${settings.timeoutMs}\``);

  const capabilities = tableOf('capabilities', guide.slice(guide.indexOf('`capabilities` says')));
  t.deepEqual([...capabilities.keys()].sort(), namesIn(refused({ capabilities: { noSuchCapability: 1 } })));
  for (const name of ['writable', 'ranges', 'reportsCreated', 'survivesDelete', 'metadata'] as const) {
    t.is(capabilities.get(name), `\`${settings.capabilities[name]}\``, name);
  }
});

test('the table of metrics names each, with its type and what it is', async (t) => {
  const page = await readFile('docs/operating.md', 'utf8');
  const documented = [...page.matchAll(/^\| `(hotblob_\w+)` \| (\w+) \| (.*) \|$/gm)].map((row) => row.slice(1, 4));
  const metrics = [...HANDLER_METRICS, ...SERVER_METRICS, ...STORE_METRICS];
  t.deepEqual(
    documented,
    metrics.map(({ name, type, help }) => [name, type, help]),
  );
});

test('the table of the page names every option, and the default that the code has', async (t) => {
  const page = await readFile('docs/operating.md', 'utf8');
  const [, rows = ''] = /\n\n(\| option \|.*?)\n\n/s.exec(page) ?? [];
  const names = [...rows.matchAll(/^\| `(\w+)` \|/gm)].map(([, name = '']) => name);
  t.deepEqual(names.sort(), namesIn(t.throws(() => createDashboard({ noSuchOption: 1 } as never))));
});

test('the guide to stores says which status an error becomes', (t) => {
  const rows = [...guide.matchAll(/^\| `(ERR_HOTBLOB_\w+)` \| (\d+) \|/gm)];
  t.true(rows.length >= 6);
  for (const [, code, status] of rows) t.is(new HotblobError(code as ErrorCode, '').status, Number(status), code);
  const ofTheSystem = [...guide.matchAll(/((?:`E[A-Z]+`[, and]*)+) are (\d+)/g)];
  t.is(ofTheSystem.length, 2);
  for (const [, names = '', status] of ofTheSystem) {
    for (const code of names.match(/E[A-Z]+/g) ?? []) {
      t.is(statusOf(Object.assign(new Error(code), { code })), Number(status), code);
    }
  }
});

test('the table of the command line names the options of `serve`, and only those', async (t) => {
  const help = spawn(process.execPath, ['dist/cli.js', 'serve', '--help']);
  const lines: string[] = [];
  for await (const line of createInterface(help.stdout)) lines.push(line);
  const flags = (text: string) => [...new Set(text.match(/--[a-z][a-z-]+/g))].sort();
  const table = readme.slice(readme.indexOf('| `--dir')).split('\n\n', 1)[0] ?? '';
  t.true(flags(table).length > 10);
  t.deepEqual(flags(table), flags(lines.join('\n')));
});
