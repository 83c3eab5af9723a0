import { readFile } from 'node:fs/promises';
import test from 'ava';
import { type ErrorCode, HotblobError, statusOf } from '../../src/contract/errors.js';

const source = await readFile('src/contract/errors.ts', 'utf8');
const guide = await readFile('docs/writing-a-store.md', 'utf8');
const page = await readFile('docs/troubleshooting.md', 'utf8');

/** Codes in src/contract/errors.ts with their status. */
const codes = new Map(
  [...source.matchAll(/^ {2}(ERR_HOTBLOB_\w+): \{\s*status: (\d+),/gm)].map(([, code = '', status]) => [
    code,
    Number(status),
  ]),
);

/** Codes with an entry in docs/troubleshooting.md, with the text of the entry. */
const entries = new Map(
  [...page.matchAll(/^### (ERR_HOTBLOB_\w+)\n\n(.*?)$/gm)].map(([, code = '', text = '']) => [code, text]),
);

test('every error code has an entry with its status', (t) => {
  t.true(codes.size >= 25);
  for (const [code, status] of codes) {
    t.is(new HotblobError(code as ErrorCode, '').status, status);
    t.regex(entries.get(code) ?? '', new RegExp(`^Status ${status}\\b`), code);
  }
});

test('every entry is about an error code', (t) => {
  t.deepEqual([...entries.keys()].sort(), [...codes.keys(), 'ERR_HOTBLOB_INTERNAL'].sort());
});

test('the guide to stores has the status of each error', (t) => {
  const rows = [...guide.matchAll(/^\| `(ERR_HOTBLOB_\w+)` \| (\d+) \|/gm)];
  t.true(rows.length >= 6);
  for (const [, code, status] of rows) t.is(new HotblobError(code as ErrorCode, '').status, Number(status), code);
});

for (const [name, text] of Object.entries({ 'docs/writing-a-store.md': guide, 'docs/troubleshooting.md': page })) {
  test(`${name} has the statuses of system errors`, (t) => {
    const systemErrors = [...text.matchAll(/((?:`E[A-Z]+`[, and]*)+) are (\d+)/g)].filter(
      ([, , status]) => status !== '403',
    );
    t.is(systemErrors.length, 2);
    for (const [, names = '', status] of systemErrors) {
      for (const code of names.match(/E[A-Z]+/g) ?? []) {
        t.is(statusOf(Object.assign(new Error(code), { code })), Number(status), code);
      }
    }
  });
}
