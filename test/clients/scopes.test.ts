// A pull request that plants wrong artifacts, against the example with trust scopes. Every build is one of a real tool.
import { mkdir, readFile, rm } from 'node:fs/promises';
import test, { type ExecutionContext } from 'ava';
import { request } from '../helpers/client.js';
import { startExample } from '../helpers/example.js';
import { testWith } from '../helpers/peers.js';
import { temporaryDirectory } from '../stores/fixture.js';
import { type RecordedUpload, recordUploads } from './recording-proxy.js';
import type { Tool } from './tool.js';
import { bazel } from './tools/bazel.js';
import { gradle } from './tools/gradle.js';
import { nx } from './tools/nx.js';
import { turborepo } from './tools/turborepo.js';

const TOKENS = { main: 'main-0123456789abcdef', pr: 'pr-0123456789abcdefgh' };
type Builder = keyof typeof TOKENS;

const TOOLS = [turborepo('turbo', {}, {}), nx, gradle, bazel];

for (const tool of TOOLS) {
  for (const isWriteOnce of [false, true]) {
    const title = `${tool.name}: a pull request uses the artifacts of main, and main uses none of a pull request`;
    // Serial, because most tools use a whole core.
    testWith(test.serial, ...(tool.peers ?? []))(`${title}${isWriteOnce ? ' (write once)' : ''}`, async (t) => {
      t.timeout(300_000);
      const { build, plant } = await start(t, tool, isWriteOnce);
      if (!isWriteOnce) {
        t.false((await build('main', 'release 1')).isHit);
        t.true((await build('pr', 'release 1')).isHit, 'the pull request has the artifacts of main');
      }

      // The pull request stores what it has built from other sources under the key that main will ask for.
      const honest = await build('pr', 'release 2');
      const evil = isWriteOnce ? undefined : await build('pr', 'the sources of an attacker');
      await plant(
        evil?.uploads ?? honest.uploads.map((upload) => ({ ...upload, body: Buffer.from('wrong') })),
        honest.uploads,
      );
      const own = await build('pr', 'release 2', isWriteOnce ? 'release 2' : 'the sources of an attacker');
      t.true(own.isHit, 'the tool accepts what is stored');

      const release = await build('main', 'release 2');
      t.false(release.isHit);
      t.true(release.uploads.length > 0);
    });
  }
}

async function start(t: ExecutionContext, tool: Tool, isWriteOnce: boolean) {
  const root = await temporaryDirectory(t);
  const { server } = await startExample(t, 'trust-scopes.ts', {
    DIR: `${root}/artifacts`,
    MAIN_TOKEN: TOKENS.main,
    PR_TOKEN: TOKENS.pr,
    WRITE_ONCE: isWriteOnce ? '1' : '0',
  });
  const recorded: RecordedUpload[] = [];
  const port = await recordUploads(t, server.port, recorded);
  // All builds are in one directory, because its path can be a part of a key.
  const directory = `${root}/workspace`;

  /** Builds from `input`, and asserts that the output is that of `expected`. */
  async function build(builder: Builder, input: string, expected = input) {
    // Bazel's outputs are read-only.
    await rm(directory, { recursive: true, force: true, maxRetries: 3 });
    await mkdir(directory);
    await tool.prepare(directory, `${input}\n`);
    recorded.length = 0;
    const { code, log } = await tool.build(directory, port, TOKENS[builder]);
    t.is(code, 0, log);
    t.is(await readFile(`${directory}/${tool.output}`, 'utf8'), tool.expected(`${expected}\n`), log);
    return { isHit: tool.isHit(log), uploads: [...recorded], log };
  }

  /** Uploads the bodies of `evil` under the keys of `honest`, with the token of the pull request. */
  async function plant(evil: readonly RecordedUpload[], honest: readonly RecordedUpload[]): Promise<void> {
    // A content-addressed key cannot have another content. Both builds have one upload under a key of another kind.
    const [body, target] = [evil, honest].map((uploads) => uploads.filter(({ url }) => !url.includes('/cas/')));
    t.is(body?.length, 1);
    t.is(target?.length, 1);
    const { url = '', headers = {} } = target?.[0] ?? {};
    const { host: _host, 'content-length': _length, expect: _expect, connection: _connection, ...kept } = headers;
    const { status } = await request(server, {
      method: 'PUT',
      path: url,
      headers: kept as Record<string, string>,
      body: body?.[0]?.body,
    });
    t.is(status, tool.name === 'nx' && isWriteOnce ? 409 : tool.name === 'turbo' ? 202 : 200);
  }

  return { build, plant };
}
