import { printable, printableJson } from '../../util/printable.js';

/** Format of the lines of an access log. */
export type AccessLogFormat = (typeof ACCESS_LOG_FORMATS)[number];

export const ACCESS_LOG_FORMATS = ['json', 'combined'] as const;

/** Longest text of a client in a line. Longer ones are cut, so that a client cannot fill the disk with its headers. */
const MAX_PATH_LENGTH = 2048;
const MAX_AGENT_LENGTH = 256;

/** Request and its response in an access log. */
export interface AccessEntry {
  /** Time of the end of the response. */
  readonly time: Date;
  readonly id: string;
  readonly client: string | undefined;
  readonly method: string;
  /** Path and query. */
  readonly path: string;
  readonly http: string;
  readonly protocol: string | undefined;
  readonly namespace: string | undefined;
  readonly scope: string | undefined;
  readonly key: string | undefined;
  /** 0 if there was no response. */
  readonly status: number;
  /** Status of the failure that the protocol has replaced. */
  readonly failure: number | undefined;
  /** Bytes of the request body that were received. */
  readonly received: number;
  /** Bytes of the artifact that were sent. */
  readonly bytes: number;
  readonly source: string | undefined;
  readonly milliseconds: number;
  readonly complete: boolean;
  readonly subject: string | undefined;
  readonly agent: string | undefined;
}

/** Formats an entry as one line, without a newline. No character of a client is interpreted by a terminal. */
export function formatEntry(entry: AccessEntry, format: AccessLogFormat): string {
  return format === 'json' ? jsonLine(entry) : combinedLine(entry);
}

function jsonLine({ milliseconds, complete, failure, status, path, agent, ...rest }: AccessEntry): string {
  return printableJson({
    ...rest,
    path: path.slice(0, MAX_PATH_LENGTH),
    status,
    failure: failure === status ? undefined : failure,
    milliseconds: Number(milliseconds.toFixed(3)),
    incomplete: complete ? undefined : true,
    agent: agent?.slice(0, MAX_AGENT_LENGTH),
  });
}

/** Returns a line in the combined log format of Apache httpd and nginx. */
function combinedLine({ client, subject, time, method, path, http, status, bytes, agent }: AccessEntry): string {
  const request = quoted(`${method} ${path.slice(0, MAX_PATH_LENGTH)} HTTP/${http}`);
  const user = subject === undefined ? '-' : printable(subject).replace(/[\s"]/g, '_');
  const agentText = agent === undefined ? '"-"' : quoted(agent.slice(0, MAX_AGENT_LENGTH));
  return `${client ?? '-'} - ${user} [${apacheTime(time)}] ${request} ${status} ${bytes} "-" ${agentText}`;
}

function quoted(text: string): string {
  return `"${printable(text).replaceAll('"', '\\x22')}"`;
}

const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];

/** Returns a time as in `30/Nov/2026:02:15:00 +0000`. */
function apacheTime(time: Date): string {
  const [date = '', clock = ''] = time.toISOString().split(/[T.]/);
  const [year, month, day] = date.split('-');
  return `${day}/${MONTHS[Number(month) - 1]}/${year}:${clock} +0000`;
}
