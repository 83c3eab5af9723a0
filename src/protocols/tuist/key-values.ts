import { Readable } from 'node:stream';
import { HotblobError } from '../../contract/errors.js';
import { decodePath } from '../paths.js';
import type { AnswerOperation, Operation, ProtocolRequest } from '../protocol.js';
import type { Generations } from './generations.js';
import { isObject, jsonBody } from './json-body.js';
import { encodeName, type Project, projectOf } from './project.js';

/**
 * Returns the operation for a request to `/api/cache/keyvalue`: action results of Xcode's compilation cache, stored as
 * `{"entries": [{"value"}]}` under a `cas_id`.
 *
 * @param rest path after the route and its slash; `undefined` for the route itself
 */
export function keyValueRoute(
  { method, query }: ProtocolRequest,
  rest: string | undefined,
  generations: Generations,
): Operation {
  if (rest === undefined) {
    return method === 'PUT' ? putEntries(projectOf(query), generations) : { kind: 'unsupported', allow: ['PUT'] };
  }
  const id = encodeName(decodePath(rest));
  if (method !== 'GET' && method !== 'HEAD') return { kind: 'unsupported', allow: ['GET', 'HEAD'] };
  return generations.read(projectOf(query), (prefix) => keyOf(prefix, id));
}

function putEntries(project: Project, generations: Generations): AnswerOperation {
  return {
    kind: 'answer',
    needs: 'write',
    namespace: project,
    answer: async (artifacts) => {
      const { cas_id: id, entries } = await jsonBody(artifacts);
      if (typeof id !== 'string' || !Array.isArray(entries)) throw badRequest();
      const text = JSON.stringify({ entries: entries.map(entryOf) });
      const key = keyOf(`${project}/${await generations.ensure(project, artifacts)}`, encodeName(id));
      await artifacts.put(key, Readable.from([text], { objectMode: false }), { contentType: 'application/json' });
      return { status: 204 };
    },
  };
}

function keyOf(prefix: string, id: string): string {
  return `${prefix}/keyvalue/${id}`;
}

function entryOf(entry: unknown): { value: string } {
  const value = isObject(entry) ? entry['value'] : undefined;
  if (typeof value !== 'string') throw badRequest();
  return { value };
}

function badRequest(): HotblobError {
  return new HotblobError(
    'ERR_HOTBLOB_BAD_REQUEST',
    'body: expected {"cas_id": string, "entries": [{"value": string}]}',
  );
}
