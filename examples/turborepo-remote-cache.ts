// The published turborepo-remote-cache with its downloads sent by hotblob, after the authorization of the server.
import { mkdir, readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { fileArtifact } from 'hotblob';
import { createSender } from 'hotblob/fastify';
import { createApp } from 'turborepo-remote-cache';

const { DIR = './artifacts', PORT = '8080', TURBO_REMOTE_CACHE_SIGNATURE_KEY } = process.env;
await mkdir(DIR, { recursive: true });
const root = resolve(DIR);

// TURBO_TOKEN, LOG_LEVEL and other settings of the server come from the environment.
const app = createApp({
  configOverrides: { STORAGE_PROVIDER: 'local', STORAGE_PATH: root, STORAGE_PATH_USE_TMP_FOLDER: false },
});
// Clients have uploaded what it sends.
const hot = createSender({ trustArtifacts: false });

/** Whether a part of a URL is the name of a directory or file that the server writes. */
const isName = (text = ''): boolean => /^[\w-]+$/.test(text);

/** Sends the artifact, if it exists. Otherwise the handler of the server responds. */
async function sendArtifact(request: FastifyRequest, reply: FastifyReply): Promise<void> {
  const { id } = request.params as { id: string };
  const { teamId, team: named, slug } = request.query as { teamId?: string; team?: string; slug?: string };
  const team = teamId ?? named ?? slug;
  if (!isName(team) || !isName(id)) return;
  const artifact = fileArtifact(`${team}/${id}`, { root }); // not `immutable`: uploads write to the file in place
  if (TURBO_REMOTE_CACHE_SIGNATURE_KEY !== undefined) {
    const tag = await readFile(`${artifact.path}.tag`, 'utf8').catch(() => undefined);
    if (tag === undefined) return;
    reply.header('x-artifact-tag', tag);
  }
  await hot.trySend(request, reply, artifact);
}

app.addHook('onRoute', (route) => {
  if (route.method === 'GET' && route.url === '/v8/artifacts/:id') route.preHandler = sendArtifact;
});
app.addHook('onClose', async () => {
  app.log.info(hot.stats(), 'sent by hotblob');
  hot.close();
});
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => void app.close());

console.log(`listening on ${await app.listen({ host: '127.0.0.1', port: Number(PORT) })}`);
