import type { Protocol } from '../protocols/protocol.js';
import { copyString } from '../util/copy-string.js';
import { isErrorStatus } from './error-status.js';

/** Responses and bytes of one protocol and namespace. */
export interface TrafficCount {
  /** Name of the protocol. `none` if no protocol matched, or if a route of the host sent the artifact. */
  readonly protocol: string;
  /**
   * Namespace of the requests; undefined if they named none. `*` for the namespaces beyond the first 100 of the handler, and for
   * requests with a namespace of which no artifact was sent or stored before.
   */
  readonly namespace?: string | undefined;
  /** Number of responses. */
  readonly responses: number;
  /** Number of these that failed: without a status, or with one of 400 or more other than 404 and 412. */
  readonly errors: number;
  /** Number of bytes of artifacts that were sent, counted at the end of each response. */
  readonly sentBytes: number;
  /** Number of bytes of uploads that were received, counted at the end of each response. */
  readonly receivedBytes: number;
}

/** Maximum number of namespaces. Clients choose them, so their number has no other limit. */
const MAX_NAMESPACES = 100;
const OTHERS = '*';

/** Response that has ended. */
export interface TrafficRecord {
  readonly protocol: Protocol | undefined;
  readonly namespace: string | undefined;
  readonly operation: string;
  readonly status: number;
  readonly failure: number | undefined;
  readonly receivedBytes: number;
}

type Entry = { -readonly [Name in keyof TrafficCount]: TrafficCount[Name] };

/** Counts the responses and bytes of each protocol and namespace. */
export class Traffic {
  readonly #entries = new Map<Protocol | undefined, Map<string | undefined, Entry>>();
  #namespaces = 0;

  count(record: TrafficRecord, sentBytes: number): void {
    const entry = this.#entry(record);
    entry.responses++;
    entry.sentBytes += sentBytes;
    entry.receivedBytes += record.receivedBytes;
    if (isErrorStatus(record.failure ?? record.status)) entry.errors++;
  }

  snapshot(): TrafficCount[] {
    return Array.from(this.#entries.values(), (entries) =>
      Array.from(entries.values(), (entry) => ({ ...entry })),
    ).flat();
  }

  #entry(record: TrafficRecord): Entry {
    const { protocol, namespace } = record;
    let entries = this.#entries.get(protocol);
    if (entries === undefined) {
      entries = new Map();
      this.#entries.set(protocol, entries);
    }
    const known = entries.get(namespace);
    if (known !== undefined) return known;
    const isNamed = namespace === undefined || (this.#namespaces < MAX_NAMESPACES && isOfArtifact(record));
    if (!isNamed) return entries.get(OTHERS) ?? addEntry(entries, protocol, OTHERS);
    if (namespace !== undefined) this.#namespaces++;
    return addEntry(entries, protocol, namespace && copyString(namespace));
  }
}

/** Whether the namespace has an artifact. A client without access cannot use up the number of namespaces. */
function isOfArtifact({ operation, status }: TrafficRecord): boolean {
  return (operation === 'read' || operation === 'upload') && status > 0 && status < 400;
}

function addEntry(
  entries: Map<string | undefined, Entry>,
  protocol: Protocol | undefined,
  namespace: string | undefined,
): Entry {
  const name = protocol?.name ?? 'none';
  const entry: Entry = {
    protocol: name,
    ...(namespace !== undefined && { namespace }),
    responses: 0,
    errors: 0,
    sentBytes: 0,
    receivedBytes: 0,
  };
  entries.set(namespace, entry);
  return entry;
}
