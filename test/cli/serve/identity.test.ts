import { once } from 'node:events';
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import https from 'node:https';
import { createInterface } from 'node:readline';
import test, { type ExecutionContext } from 'ava';
import { type Certificate, certificate } from '../../helpers/certificate.js';
import { Authority } from '../../helpers/client-certificates.js';
import { runCommand, startCommand } from '../../helpers/command-line.js';
import { temporaryDirectory } from '../../helpers/files.js';
import { Issuer } from '../../helpers/issuer.js';
import { until } from '../../helpers/poll.js';

const STATIC_TOKEN = 'dev-55c1a8e07b3f9d24';
const MAIN = { repository: 'acme/web', ref: 'refs/heads/main' };
const PULL = { repository: 'acme/web', ref: 'refs/pull/7/merge' };

const RULES: readonly object[] = [
  { when: { repository: 'acme/*', ref: 'refs/heads/main' }, level: 'write', scope: 'main' },
  { when: { repository: 'acme/*' }, level: 'write', scope: 'pr/{ref}', reads: ['main'] },
];

interface Server {
  readonly url: string;
  readonly lines: readonly string[];
  readonly errors: readonly string[];
  readonly child: ReturnType<typeof startCommand>['child'];
}

async function start(t: ExecutionContext, directory: string, ...args: readonly string[]): Promise<Server> {
  const { child } = startCommand(['serve', '--dir', `${directory}/artifacts`, '--port', '0', ...args]);
  t.teardown(() => child.kill('SIGKILL'));
  const [lines, errors]: [string[], string[]] = [[], []];
  createInterface(child.stdout).on('line', (line) => lines.push(line));
  createInterface(child.stderr).on('line', (line) => errors.push(line));
  await until('the server prints two lines', () => lines.length >= 2 || child.exitCode !== null);
  return { url: /https?:\/\/\S+/.exec(lines[0] ?? '')?.[0] ?? t.fail(errors.join('\n')), lines, errors, child };
}

/** Replaces a file by rename, and returns its path. */
function write(directory: string, name: string, content: object | string): string {
  const path = `${directory}/${name}`;
  writeFileSync(`${path}.next`, typeof content === 'string' ? content : JSON.stringify(content), { mode: 0o600 });
  renameSync(`${path}.next`, path);
  return path;
}

function oidcOf({ url }: Issuer, rules: readonly object[] = RULES): object {
  return { issuers: [{ issuer: url, audience: 'hotblob' }], rules };
}

async function ask({ url }: Server, method: string, token?: string, key = 'key'): Promise<number> {
  const headers: Record<string, string> = token === undefined ? {} : { authorization: `Bearer ${token}` };
  const body = method === 'PUT' ? { body: 'x' } : {};
  const response = await fetch(`${url.replace('0.0.0.0', '127.0.0.1')}/${key}`, { method, headers, ...body });
  await response.arrayBuffer();
  return response.status;
}

test('rules give each build its scope, together with static tokens and anonymous readers', async (t) => {
  const directory = await temporaryDirectory(t);
  const issuer = await Issuer.start(t);
  const tokens = write(directory, 'tokens', `write ${STATIC_TOKEN}\n`);
  const oidc = write(directory, 'oidc.json', oidcOf(issuer));
  const files = ['--tokens', tokens, '--oidc', oidc, '--anonymous', 'read'];
  const server = await start(t, directory, '--host', '0.0.0.0', ...files);
  t.is(
    server.lines[1],
    `access: by the tokens in ${tokens} and the rules in ${oidc} for ${issuer.url}; read access without a valid token (--anonymous read)`,
  );
  const [main, pull] = [issuer.sign(MAIN), issuer.sign(PULL)];
  t.is(await ask(server, 'PUT', main), 200);
  t.is(await ask(server, 'GET', pull), 200, 'a pull request reads what the main branch has stored');
  t.is(await ask(server, 'PUT', pull, 'poison'), 200);
  t.is(await ask(server, 'GET', pull, 'poison'), 200);
  t.is(await ask(server, 'GET', main, 'poison'), 404, 'the main branch does not read what a pull request has stored');
  t.is(await ask(server, 'GET', issuer.sign({ ...PULL, ref: 'refs/pull/8/merge' }), 'poison'), 404);
  t.is(await ask(server, 'PUT', STATIC_TOKEN, 'own'), 200);
  t.is(await ask(server, 'GET', undefined, 'own'), 200, 'anonymous');
  t.is(await ask(server, 'GET', undefined, 'key'), 404);
  t.is(await ask(server, 'PUT', undefined), 403);
  t.is(await ask(server, 'PUT', issuer.sign({ ...MAIN, repository: 'evil/web' })), 403);
  t.is(await ask(server, 'PUT', issuer.sign({ ...MAIN, aud: 'other' })), 403);
  t.is(issuer.requests, 1);
  t.deepEqual(server.errors, []);
});

test('the file is reloaded when it changes, and on SIGHUP', async (t) => {
  const directory = await temporaryDirectory(t);
  const issuer = await Issuer.start(t);
  const oidc = write(directory, 'oidc.json', oidcOf(issuer));
  const server = await start(t, directory, '--oidc', oidc);
  const token = issuer.sign(MAIN);
  t.is(await ask(server, 'PUT', token), 200);
  t.is(await ask(server, 'GET'), 401);
  write(directory, 'oidc.json', oidcOf(issuer, [{ when: { repository: 'acme/*' }, level: 'read' }]));
  await until('the new rules are in effect', async () => (await ask(server, 'PUT', token)) === 403);
  write(directory, 'oidc.json', '{\n  "rules": [],\n}');
  await until('a line about the invalid file', async () => {
    t.is(await ask(server, 'PUT', token), 403);
    return server.errors.length > 0;
  });
  t.regex(server.errors[0] ?? '', /^hotblob: .*oidc\.json:3:1: expected a name .*the last valid rules are accepted/);
  write(directory, 'oidc.json', oidcOf(issuer));
  const { requests } = issuer;
  server.child.kill('SIGHUP');
  await until('the keys are fetched again', () => issuer.requests > requests);
  t.is(await ask(server, 'PUT', token), 200);
});

test('rules apply in every process', async (t) => {
  const directory = await temporaryDirectory(t);
  const issuer = await Issuer.start(t);
  const oidc = write(directory, 'oidc.json', oidcOf(issuer));
  const server = await start(t, directory, '--processes', '2', '--store', 'directory', '--oidc', oidc);
  await until('both processes have fetched the keys', () => issuer.requests >= 2);
  const [main, pull] = [issuer.sign(MAIN), issuer.sign(PULL)];
  for (let count = 0; count < 20; count++) {
    t.is(await ask(server, 'PUT', pull, `${count}`), 200);
    t.is(await ask(server, 'GET', main, `${count}`), 404);
    t.is(await ask(server, 'PUT'), 401);
  }
});

test('serve starts while the issuer cannot be reached, and doctor warns', async (t) => {
  const directory = await temporaryDirectory(t);
  const issuer = await Issuer.start(t);
  issuer.respond = (response) => response.writeHead(503).end();
  const oidc = write(directory, 'oidc.json', oidcOf(issuer));
  const server = await start(t, directory, '--oidc', oidc);
  await until('a line about the keys', () => server.errors.length > 0);
  t.is(server.errors[0], `hotblob: ${issuer.url}: cannot fetch the keys: ${issuer.url}/keys: status 503`);
  t.is(await ask(server, 'PUT', issuer.sign(MAIN)), 401);
  const { code, stdout } = await runCommand(['doctor', '--port', '0', '--dir', `${directory}/new`, '--oidc', oidc]);
  t.is(code, 0, stdout);
  t.regex(stdout, /--oidc: .*cannot fetch the keys: .*status 503/);
});

test('an invalid file keeps the server from starting, and doctor says why', async (t) => {
  const directory = await temporaryDirectory(t);
  const oidc = write(
    directory,
    'oidc.json',
    '{\n  "rules": [\n    { "certificate": { "CN": "x" }, "level": "read" }\n  ]\n}\n',
  );
  const message = /--oidc: .*oidc\.json:3:30: rules\[0\]\.certificate\.CN: unknown field; expected subject\.NAME/;
  const served = await runCommand(['serve', '--dir', `${directory}/artifacts`, '--port', '0', '--oidc', oidc]);
  t.is(served.code, 1);
  t.regex(served.stderr, message);
  const checked = await runCommand(['doctor', '--dir', `${directory}/artifacts`, '--port', '0', '--oidc', oidc]);
  t.is(checked.code, 1);
  t.regex(checked.stdout, message);
});

async function askWithCertificate(url: string, client: Partial<Certificate>, token?: string): Promise<number> {
  const headers = token === undefined ? {} : { authorization: `Bearer ${token}` };
  const options = { method: 'PUT', headers, rejectUnauthorized: false, agent: false, ...client };
  const request = https.request(`${url}/key`, options).end('x');
  const [response] = await once(request, 'response');
  response.resume();
  return response.statusCode;
}

test('client certificates grant access, beside tokens', async (t) => {
  const directory = await temporaryDirectory(t);
  const authority = new Authority(directory);
  const { cert, key } = await certificate();
  const tls = ['--tls-cert', write(directory, 'cert.pem', cert), '--tls-key', write(directory, 'key.pem', key)];
  const rules = [{ certificate: { 'subject.CN': 'ci-*', san: 'URI:spiffe://acme/ci/*' }, level: 'write' }];
  const oidc = write(directory, 'oidc.json', { rules });
  const tokens = write(directory, 'tokens', `write ${STATIC_TOKEN}\n`);
  const ca = write(directory, 'ca.pem', readFileSync(authority.path, 'utf8'));
  const server = await start(t, directory, ...tls, '--tls-client-ca', ca, '--oidc', oidc, '--tokens', tokens);
  t.regex(server.lines[1] ?? '', /for client certificates; no access without a valid token or certificate/);
  const client = authority.issue('/CN=ci-7', 'URI:spiffe://acme/ci/7');
  t.is(await askWithCertificate(server.url, client), 200);
  t.is(await askWithCertificate(server.url, authority.issue('/CN=ci-7', 'URI:spiffe://acme/dev/7')), 401);
  t.is(await askWithCertificate(server.url, {}), 401);
  t.is(await askWithCertificate(server.url, {}, STATIC_TOKEN), 200);
  const stranger = new Authority(await temporaryDirectory(t));
  t.is(await askWithCertificate(server.url, stranger.issue('/CN=ci-7', 'URI:spiffe://acme/ci/7')), 401);
  write(directory, 'ca.pem', readFileSync(stranger.path, 'utf8'));
  server.child.kill('SIGHUP');
  await until('the new authority is in effect', async () => (await askWithCertificate(server.url, client)) === 401);
});

for (const [name, args, code, message] of [
  ['--anonymous without a file', ['--anonymous', 'read'], 2, /--anonymous requires --tokens or --oidc/],
  [
    '--tls-client-ca without a certificate',
    ['--tls-client-ca', 'ca.pem'],
    2,
    /--tls-client-ca requires --tls-cert and --tls-key/,
  ],
  ['a missing file', ['--oidc', 'no-such-file.json'], 1, /--oidc: .*no-such-file\.json: cannot read the file: ENOENT/],
] as const) {
  test(`serve rejects ${name}`, async (t) => {
    const ended = await runCommand(['serve', '--port', '0', ...args]);
    t.is(ended.code, code);
    t.regex(ended.stderr, message);
  });
}
