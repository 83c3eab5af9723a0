// A cache that a pull request cannot poison: builds of the main branch read only what the main branch has stored. Pull requests
// read that too, and store their own artifacts where only pull requests find them.
import { createHandler, directoryStore, staticTokens } from 'hotblob';
import { bazel, gradle, nx, turborepo } from 'hotblob/protocols';
import { createServer } from 'hotblob/server';

const { DIR = './artifacts', PORT = '8080', MAIN_TOKEN, PR_TOKEN } = process.env;
if (MAIN_TOKEN === undefined || PR_TOKEN === undefined) throw new Error('set MAIN_TOKEN and PR_TOKEN');

const store = await directoryStore(DIR);
const handler = createHandler({
  store,
  protocols: [turborepo(), nx(), bazel(), gradle()],
  access: staticTokens([
    { token: MAIN_TOKEN, level: 'write', scope: 'main', name: 'main' },
    { token: PR_TOKEN, level: 'write', scope: 'pr', reads: ['main'], name: 'pull-request' },
  ]),
  // With WRITE_ONCE=1, the first upload of each key in a scope is kept.
  overwrite: process.env.WRITE_ONCE !== '1',
});

const server = createServer(handler);
await server.listen({ port: Number(PORT), host: '127.0.0.1' });
const address = server.address();
if (typeof address === 'object') console.log(`listening on http://127.0.0.1:${address?.port}`);

process.once('SIGTERM', () => server.close());
