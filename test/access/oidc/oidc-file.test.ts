import { chmodSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { type OidcFilePolicy, openOidcFile } from '../../../src/access/oidc/oidc-file.js';
import { temporaryDirectory } from '../../helpers/files.js';
import { Issuer } from '../../helpers/issuer.js';
import { ANY_TEAM, levelOf, requestWith } from './fixture.js';

const CLAIMS = { team: 'web' };

interface FileSite {
  readonly path: string;
  readonly issuer: Issuer;
  readonly policy: OidcFilePolicy;
  readonly warnings: string[];
  /** Replaces the file by rename. */
  replace(content: object | string): void;
  advance(milliseconds: number): void;
}

async function open(t: ExecutionContext): Promise<FileSite> {
  const issuer = await Issuer.start(t);
  const path = join(await temporaryDirectory(t), 'oidc.json');
  const replace = (content: object | string): void => {
    writeFileSync(`${path}.next`, typeof content === 'string' ? content : JSON.stringify(content), { mode: 0o600 });
    renameSync(`${path}.next`, path);
  };
  replace(optionsOf(issuer, [ANY_TEAM]));
  const warnings: string[] = [];
  let elapsed = 0;
  const clocks = { wallMs: () => Date.now(), monotonicMs: () => elapsed };
  const policy = await openOidcFile(path, { onWarning: (line) => warnings.push(line) }, clocks);
  const advance = (milliseconds: number): void => {
    elapsed += milliseconds;
  };
  return { path, issuer, policy, warnings, replace, advance };
}

function optionsOf({ url }: Issuer, rules: readonly object[]): object {
  return { issuers: [{ issuer: url, audience: 'hotblob' }], rules };
}

test('applies the rules of the file, and those of a new file after a second', async (t) => {
  const { issuer, policy, replace, advance } = await open(t);
  const token = issuer.sign(CLAIMS);
  t.is(await levelOf(policy, token), 'write');
  replace(optionsOf(issuer, [{ ...ANY_TEAM, level: 'read' }]));
  t.is(await levelOf(policy, token), 'write');
  advance(1000);
  t.is(await levelOf(policy, token), 'read');
  t.is(issuer.requests, 1, 'the keys are kept');
  t.deepEqual(policy.issuers, [issuer.url]);
});

test('new rules apply although the issuer cannot be reached', async (t) => {
  const { issuer, policy, replace, advance, warnings } = await open(t);
  t.is(await levelOf(policy, issuer.sign(CLAIMS)), 'write');
  issuer.respond = (response) => response.destroy();
  replace(optionsOf(issuer, [{ ...ANY_TEAM, level: 'read' }]));
  advance(1000);
  t.is(await levelOf(policy, issuer.sign(CLAIMS)), 'read');
  t.deepEqual(warnings, []);
});

test('an issuer that is removed and added again is fetched again', async (t) => {
  const { issuer, policy, replace, advance } = await open(t);
  const other = await Issuer.start(t);
  t.is(await levelOf(policy, issuer.sign(CLAIMS)), 'write');
  replace(optionsOf(other, [ANY_TEAM]));
  advance(1000);
  t.is(await levelOf(policy, issuer.sign(CLAIMS)), 'none');
  t.is(await levelOf(policy, other.sign(CLAIMS)), 'write');
  replace(optionsOf(issuer, [ANY_TEAM]));
  advance(1000);
  t.is(await levelOf(policy, issuer.sign(CLAIMS)), 'write');
  t.is(issuer.requests, 2);
});

test('an invalid file keeps the last rules for ten minutes', async (t) => {
  const { path, issuer, policy, replace, advance, warnings } = await open(t);
  const token = issuer.sign(CLAIMS);
  t.is(await levelOf(policy, token), 'write');
  replace('{\n  "rules": [\n');
  advance(1000);
  t.is(await levelOf(policy, token), 'write');
  t.is(
    warnings[0],
    `${path}:3:1: expected a value, received the end of the file: the last valid rules are accepted for 600000 ms after the file first failed to load`,
  );
  advance(600_000);
  t.is(await levelOf(policy, token), 'none');
  t.regex(warnings[1] ?? '', /no valid file with rules for 600000 ms \(maxStaleMs\): all tokens rejected/);
  replace(optionsOf(issuer, [ANY_TEAM]));
  await policy.reload();
  t.is(await levelOf(policy, token), 'write');
});

test('a file that is deleted is invalid', async (t) => {
  const { path, policy, advance, warnings } = await open(t);
  rmSync(path);
  advance(1000);
  t.is(await policy(requestWith(undefined)), 'none');
  t.regex(warnings[0] ?? '', /cannot read the file: ENOENT, it does not exist: the last valid rules/);
});

test('reload reads the file and fetches the keys', async (t) => {
  const { issuer, policy, replace } = await open(t);
  await policy.reload();
  t.is(issuer.requests, 1);
  issuer.addKey('ES256', 'key-2');
  replace(optionsOf(issuer, [{ ...ANY_TEAM, level: 'read' }]));
  await policy.reload();
  t.is(await levelOf(policy, issuer.sign(CLAIMS)), 'read');
  t.is(issuer.requests, 2);
});

test('warns if others may write the file', async (t) => {
  const { path, policy, warnings, replace, issuer } = await open(t);
  replace(optionsOf(issuer, [ANY_TEAM]));
  chmodSync(path, 0o664);
  await policy.reload();
  t.deepEqual(warnings, [`${path}: group or others may write the file (mode 664)`]);
});

const RULE = `{ "when": { "team": "*" }, "level": "write" }`;
const ISSUERS = `"issuers": [{ "issuer": "https://id.example.com", "audience": "hotblob" }]`;

for (const [content, message] of [
  ['', /oidc\.json:1:1: expected a value, received the end of the file$/],
  ['[]', /oidc\.json:1:1: expected an object with the property rules$/],
  ['{}', /oidc\.json:1:1: options: expected the property rules, which is missing$/],
  [
    `{\n  "protocols": ["x"],\n  "rules": []\n}`,
    /oidc\.json:2:16: protocols: expected no such property in a file; remove it$/,
  ],
  [
    `{\n  ${ISSUERS},\n  "rules": [\n    ${RULE},\n    { "when": {}, "level": "read" }\n  ]\n}`,
    /oidc\.json:5:15: rules\[1\]\.when: expected an object/,
  ],
  [
    `{\n  ${ISSUERS},\n  "rules": [\n    { "when": { "a": "b" },\n      "level": "wirte" }\n  ]\n}`,
    /oidc\.json:5:16: rules\[0\]\.level: expected 'none'/,
  ],
  [
    `{\n  ${ISSUERS},\n  "rules": [\n    { "when": { "a": "b" } }\n  ]\n}`,
    /oidc\.json:4:5: rules\[0\]: expected the property level/,
  ],
] as const) {
  test(`rejects ${JSON.stringify(content)}`, async (t) => {
    const path = join(await temporaryDirectory(t), 'oidc.json');
    writeFileSync(path, content);
    const clocks = { wallMs: () => 0, monotonicMs: () => 0 };
    await t.throwsAsync(openOidcFile(path, {}, clocks), { code: 'ERR_HOTBLOB_INVALID_OPTION', message });
  });
}
