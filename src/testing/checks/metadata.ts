import type { UploadMetadata } from '../../contract/artifact.js';
import { DEFAULT_CACHE_CONTROL } from '../../contract/header-fields.js';
import { assertEqual } from '../assert-equal.js';
import { assertBytes, chunkedBody, content, StagedBody } from '../bodies.js';
import type { Capabilities } from '../options.js';
import { assertRejected, assertStored, type Subject } from '../subject.js';
import type { Check } from './check.js';

const OLD: UploadMetadata = {
  contentType: 'application/vnd.gradle.build-cache-artifact.v1',
  contentEncoding: 'gzip',
  cacheControl: 'max-age=60',
  headers: { 'x-artifact-tag': 'Tc0BmHvJYMIYJ62/zx87YqO0Flxk+5Ovip25NY825CQ=', 'x-artifact-duration': '1200' },
};
/** Differs from OLD in every field. */
const NEW: UploadMetadata = {
  contentType: 'text/plain; charset=utf-8',
  contentEncoding: 'zstd',
  cacheControl: 'max-age=7200, public',
  headers: { 'x-artifact-sha': '100%, "quoted"; a,b=c \\ d' },
};
/** Single fields, and header values that a store could decode or trim by mistake. */
const SINGLE_FIELDS: readonly UploadMetadata[] = [
  { contentType: 'image/png' },
  { contentEncoding: 'br' },
  { cacheControl: 'private' },
  { headers: { 'x-artifact-sha': '%41%zz', 'x-artifact-tag': '=?utf-8?b?YQ==?=', 'x-artifact-duration': '0' } },
  { headers: { 'x-artifact-sha': 'two  spaces', 'x-artifact-tag': 'x'.repeat(1000) } },
];
const PIECES = 4;

const ifMetadata = ({ writable, metadata }: Capabilities): boolean => writable && metadata;

/** Checks of the metadata of uploads. */
export const metadata: readonly Check[] = [
  {
    title: 'get() returns the metadata of the upload',
    applies: ifMetadata,
    async run(subject) {
      for (const [index, length] of [0, 1, 300, 70_001, subject.largeBytes].entries()) {
        const bytes = content(length, index + 1);
        assertStored(
          await subject.withDeadline('put()', subject.upload(`a/${length}`, chunkedBody(bytes), { metadata: OLD })),
        );
        await assertMetadataOf(subject, `a/${length}`, bytes, OLD);
      }
      for (const [index, fields] of SINGLE_FIELDS.entries()) {
        await subject.put(`field-${index}`, content(500, index + 1), { metadata: fields });
      }
      for (const [index, fields] of SINGLE_FIELDS.entries()) {
        await assertMetadataOf(subject, `field-${index}`, content(500, index + 1), fields);
      }
    },
  },
  {
    title: 'an artifact without metadata does not get that of another upload',
    applies: ifMetadata,
    async run(subject) {
      await subject.put('key', content(1000), { metadata: OLD });
      await subject.put('other', content(1000));
      await assertMetadataOf(subject, 'other', content(1000), {});
      await assertMetadataOf(subject, 'key', content(1000), OLD);
    },
  },
  {
    title: 'an overwrite replaces the metadata',
    applies: ifMetadata,
    async run(subject) {
      for (const length of [100, subject.largeBytes]) {
        // Every second overwrite has the same bytes as before: the metadata must change nevertheless.
        for (const [seed, metadata] of [OLD, NEW, SINGLE_FIELDS[0] ?? {}, OLD].entries()) {
          const bytes = content(length, Math.floor(seed / 2));
          await subject.put('key', bytes, { metadata });
          await assertMetadataOf(subject, 'key', bytes, metadata);
        }
      }
    },
  },
  {
    title: 'an overwrite without metadata clears it',
    applies: ifMetadata,
    async run(subject) {
      for (const length of [100, subject.largeBytes]) {
        await subject.put('key', content(length), { metadata: OLD });
        await assertMetadataOf(subject, 'key', content(length), OLD);
        await subject.put('key', content(length));
        await assertMetadataOf(subject, 'key', content(length), {});
      }
    },
  },
  {
    title: 'a deletion removes the metadata',
    applies: (capabilities) => ifMetadata(capabilities) && capabilities.deletable,
    async run(subject) {
      await subject.put('key', content(1000), { metadata: OLD });
      await assertMetadataOf(subject, 'key', content(1000), OLD);
      await subject.delete('key');
      await subject.assertMiss('key');
      await subject.put('key', content(1000));
      await assertMetadataOf(subject, 'key', content(1000), {});
    },
  },
  {
    title: 'an upload that fails keeps the previous metadata',
    applies: ifMetadata,
    async run(subject) {
      const bytes = content(100_000, 2);
      await subject.put('key', content(1000), { metadata: OLD });
      const before = await subject.inventory();
      for (const failure of ['error', 'abort', 'too short'] as const) {
        const body = new StagedBody();
        const controller = new AbortController();
        const { signal } = controller;
        const size = failure === 'too short' ? { size: bytes.byteLength + 1 } : {};
        const upload = subject.upload('key', body.stream, { signal, metadata: NEW, ...size });
        await subject.withDeadline('consuming an upload', body.pushInPieces(bytes, PIECES));
        if (failure === 'error') body.destroy(new Error('client disconnected'));
        if (failure === 'abort') controller.abort();
        body.end();
        assertRejected(await subject.withDeadline('put() of a failed upload', upload), 'a failed upload');
        await assertMetadataOf(subject, 'key', content(1000), OLD);
      }
      assertEqual(await subject.inventory(), before, 'inventory after failed uploads');
    },
  },
  {
    title: 'after concurrent uploads to one key, artifact and metadata are of the same upload',
    applies: ifMetadata,
    async run(subject) {
      const metadataFor = (index: number): UploadMetadata =>
        index % 3 === 0 ? {} : { headers: { 'x-artifact-sha': `${index}` } };
      for (let round = 0; round < 3; round++) {
        const bodies = Array.from({ length: 6 }, (_, index) => content(2000 + index, index + 1));
        const uploads = bodies.map((bytes, index) =>
          subject.upload('key', chunkedBody(bytes), { size: bytes.byteLength, metadata: metadataFor(index) }),
        );
        for (const outcome of await subject.withDeadline('concurrent put()', Promise.all(uploads)))
          assertStored(outcome);
        const found = await subject.read('key');
        const index = (found?.byteLength ?? 0) - 2000;
        await assertMetadataOf(subject, 'key', bodies[index] ?? content(0), metadataFor(index));
      }
    },
  },
];

/** Asserts the bytes and the metadata of the artifact under `key`. */
async function assertMetadataOf(subject: Subject, key: string, bytes: Buffer, expected: UploadMetadata): Promise<void> {
  const reader = await subject.openExisting(key);
  const { artifact } = reader;
  assertBytes(await subject.readToEnd(reader), bytes, `artifact under '${key}'`);
  assertEqual(comparable(artifact), comparable(expected), `metadata of the artifact under '${key}'`);
}

/** Normalizes metadata as a client sees it: with defaults, and header names in lower case. */
function comparable({ contentType, contentEncoding, cacheControl, headers = {} }: UploadMetadata) {
  const directives = (cacheControl || DEFAULT_CACHE_CONTROL)
    .split(/\s*,\s*/)
    .filter((directive) => !['', 'no-transform'].includes(directive));
  return {
    contentType: contentType ?? 'application/octet-stream',
    contentEncoding,
    cacheControl: directives.join(', '),
    headers: new Map(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value])),
  };
}
