import type { Exchange } from '../../contract/exchange.js';
import type { Store, StoreEntry } from '../../contract/store.js';
import { answerReply } from '../../handler/reply.js';
import { keyMatcher } from '../../keys/artifact-filter.js';
import { parseArtifactKey } from '../../keys/artifact-key.js';
import { jsonReply } from '../../protocols/protocol.js';
import { pause } from '../../util/loop-slices.js';
import { filterIn } from './filter-members.js';
import { NdjsonStream } from './ndjson-stream.js';

/** Number of characters that are written together. */
const CHUNK_CHARACTERS = 64 * 1024;

/** Time after which what is there is written, and if nothing is, an empty line, so that the client does not give up. */
const MAX_SILENCE_MS = 2000;

/** Artifact in a listing. */
export interface ListedArtifact {
  /** Key within the scope, with the prefix of the protocol. */
  readonly key: string;
  readonly scope: string;
  readonly protocol: string;
  readonly namespace: string | null;
  readonly bytes: number;
  /** Time of the last use in milliseconds since 1970; `null` if unknown. */
  readonly usedAt: number | null;
  /** Name of the client that uploaded the artifact; `null` if unknown. */
  readonly subject: string | null;
}

/** Last line of a listing. */
export interface ListEnd {
  readonly done: true;
  readonly artifacts: number;
  readonly bytes: number;
}

export function toListedArtifact({ key: storeKey, artifact, size, usedAt }: StoreEntry): ListedArtifact {
  const { key, scope, protocol, namespace = null } = parseArtifactKey(storeKey);
  const { subject = null } = artifact;
  return { key, scope, protocol, namespace, bytes: size, usedAt: Math.floor(usedAt) || null, subject };
}

/** Responds to `GET artifacts` with a line for each artifact that matches the query. */
export async function sendArtifacts(
  exchange: Exchange,
  store: Pick<Store, 'list'>,
  closed: AbortSignal,
): Promise<void> {
  const query = Object.fromEntries(new URLSearchParams(exchange.url.split('?', 2)[1] ?? ''));
  const filter = filterIn(query);
  if (typeof filter === 'string') {
    answerReply(exchange, jsonReply(400, { message: `query: ${filter}` }));
    return;
  }
  if (store.list === undefined) {
    answerReply(exchange, jsonReply(501, { message: 'The store of this server cannot list its artifacts.' }));
    return;
  }
  const matches = keyMatcher(filter);
  const stream = new NdjsonStream(exchange);
  if (exchange.method === 'HEAD') {
    await stream.write('', true);
    return;
  }
  let [artifacts, bytes, text] = [0, 0, ''];
  let writtenAt = performance.now();
  try {
    for await (const entry of store.list({ metadata: true })) {
      closed.throwIfAborted();
      if (exchange.closed) return;
      if (matches(entry.key)) {
        artifacts++;
        bytes += entry.size;
        text += `${JSON.stringify(toListedArtifact(entry))}\n`;
      }
      if (text.length >= CHUNK_CHARACTERS || performance.now() - writtenAt > MAX_SILENCE_MS) {
        if (!(await stream.write(text || '\n'))) return;
        text = '';
        writtenAt = performance.now();
      }
      await pause();
    }
    await stream.write(`${text}${JSON.stringify({ done: true, artifacts, bytes } satisfies ListEnd)}\n`, true);
  } catch (error) {
    if (!exchange.headersSent) throw error;
    await stream.fail(error);
  }
}
