import assert from 'node:assert/strict';
import type { UploadMetadata } from '../../contract/artifact.js';
import { arriving, assertBytes, content, StagedBody } from '../bodies.js';
import type { Check } from '../check.js';
import type { Capabilities } from '../options.js';
import { refused, type Subject, stored } from '../subject.js';

const OLD: UploadMetadata = {
  contentType: 'application/vnd.gradle.build-cache-artifact.v1',
  contentEncoding: 'gzip',
  cacheControl: 'max-age=60',
  headers: { 'x-artifact-tag': 'Tc0BmHvJYMIYJ62/zx87YqO0Flxk+5Ovip25NY825CQ=', 'x-artifact-duration': '1200' },
};
/** Another in every part. */
const NEW: UploadMetadata = {
  contentType: 'text/plain; charset=utf-8',
  contentEncoding: 'zstd',
  cacheControl: 'max-age=7200, public',
  headers: { 'x-artifact-sha': '100%, "quoted"; a,b=c \\ d' },
};
/** Each part alone, and values of headers that something on the way could take for something else. */
const PARTS: readonly UploadMetadata[] = [
  { contentType: 'image/png' },
  { contentEncoding: 'br' },
  { cacheControl: 'private' },
  { headers: { 'x-artifact-sha': '%41%zz', 'x-artifact-tag': '=?utf-8?b?YQ==?=', 'x-artifact-duration': '0' } },
  { headers: { 'x-artifact-sha': 'two  spaces', 'x-artifact-tag': 'x'.repeat(1000) } },
];
const PIECES = 4;

const ifKeptMetadata = ({ writable, metadata }: Capabilities): boolean => writable && metadata;

/** What uploads say about themselves. */
export const metadata: readonly Check[] = [
  {
    title: 'what an upload says about itself comes back with its artifact',
    applies: ifKeptMetadata,
    async run(subject) {
      for (const [index, length] of [0, 1, 300, 70_001, subject.largeBytes].entries()) {
        const bytes = content(length, index + 1);
        stored(await subject.within('put()', subject.upload(`a/${length}`, arriving(bytes), { metadata: OLD })));
        await assertSays(subject, `a/${length}`, bytes, OLD);
      }
      for (const [index, part] of PARTS.entries()) {
        await subject.put(`part-${index}`, content(500, index + 1), { metadata: part });
      }
      for (const [index, part] of PARTS.entries()) {
        await assertSays(subject, `part-${index}`, content(500, index + 1), part);
      }
    },
  },
  {
    title: 'an artifact about which nothing was said has no metadata of another one',
    applies: ifKeptMetadata,
    async run(subject) {
      await subject.put('key', content(1000), { metadata: OLD });
      await subject.put('other', content(1000));
      await assertSays(subject, 'other', content(1000), {});
      await assertSays(subject, 'key', content(1000), OLD);
    },
  },
  {
    title: 'an overwrite replaces what was said about the artifact',
    applies: ifKeptMetadata,
    async run(subject) {
      for (const length of [100, subject.largeBytes]) {
        // Of the same bytes too: an artifact is what was put last.
        for (const [seed, said] of [OLD, NEW, PARTS[0] ?? {}, OLD].entries()) {
          const bytes = content(length, Math.floor(seed / 2));
          await subject.put('key', bytes, { metadata: said });
          await assertSays(subject, 'key', bytes, said);
        }
      }
    },
  },
  {
    title: 'an overwrite that says nothing clears what was said about the artifact',
    applies: ifKeptMetadata,
    async run(subject) {
      for (const length of [100, subject.largeBytes]) {
        await subject.put('key', content(length), { metadata: OLD });
        await assertSays(subject, 'key', content(length), OLD);
        await subject.put('key', content(length));
        await assertSays(subject, 'key', content(length), {});
      }
    },
  },
  {
    title: 'what was said about an artifact goes with its deletion',
    applies: (capabilities) => ifKeptMetadata(capabilities) && capabilities.deletable,
    async run(subject) {
      await subject.put('key', content(1000), { metadata: OLD });
      await assertSays(subject, 'key', content(1000), OLD);
      await subject.delete('key');
      await subject.assertMiss('key');
      await subject.put('key', content(1000));
      await assertSays(subject, 'key', content(1000), {});
    },
  },
  {
    title: 'an upload that fails leaves what was said about the artifact that was there',
    applies: ifKeptMetadata,
    async run(subject) {
      const bytes = content(100_000, 2);
      await subject.put('key', content(1000), { metadata: OLD });
      const before = await subject.inventory();
      for (const way of ['fails', 'aborted', 'short'] as const) {
        const body = new StagedBody();
        const controller = new AbortController();
        const { signal } = controller;
        const size = way === 'short' ? { size: bytes.byteLength + 1 } : {};
        const upload = subject.upload('key', body.stream, { signal, metadata: NEW, ...size });
        await subject.within('taking an upload', body.giveInPieces(bytes, PIECES));
        if (way === 'fails') body.fail(new Error('the client has gone'));
        if (way === 'aborted') controller.abort();
        body.end();
        refused(await subject.within('put() of an upload that fails', upload), 'an upload that has failed');
        await assertSays(subject, 'key', content(1000), OLD);
      }
      assert.deepEqual(await subject.inventory(), before, 'what the store keeps');
    },
  },
  {
    title: 'of uploads to one key at a time the one that is there has its own metadata',
    applies: ifKeptMetadata,
    async run(subject) {
      const said = (index: number): UploadMetadata =>
        index % 3 === 0 ? {} : { headers: { 'x-artifact-sha': `${index}` } };
      for (let round = 0; round < 3; round++) {
        const bodies = Array.from({ length: 6 }, (_, index) => content(2000 + index, index + 1));
        const uploads = bodies.map((bytes, index) =>
          subject.upload('key', arriving(bytes), { size: bytes.byteLength, metadata: said(index) }),
        );
        for (const outcome of await subject.within('several put()', Promise.all(uploads))) stored(outcome);
        const found = await subject.read('key');
        const index = (found?.byteLength ?? 0) - 2000;
        await assertSays(subject, 'key', bodies[index] ?? content(0), said(index));
      }
    },
  },
];

/** Fails unless the artifact under a key has these bytes, and says this about itself. */
async function assertSays(subject: Subject, key: string, bytes: Buffer, said: UploadMetadata): Promise<void> {
  const reading = await subject.openFound(key);
  const { artifact } = reading;
  assertBytes(await subject.drain(reading), bytes, `what is found under '${key}'`);
  assert.deepEqual(comparable(artifact), comparable(said), `what the artifact under '${key}' says about itself`);
}

/** As a client would see it: defaults are filled in, and names have no case. */
function comparable({ contentType, contentEncoding, cacheControl = '', headers = {} }: UploadMetadata) {
  const directives = cacheControl.split(/\s*,\s*/).filter((directive) => !['', 'no-transform'].includes(directive));
  return {
    contentType: contentType ?? 'application/octet-stream',
    contentEncoding,
    cacheControl: directives.join(', '),
    headers: new Map(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value])),
  };
}
