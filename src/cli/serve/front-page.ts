import type { AccessPolicy } from '../../access/policy.js';
import type { ExchangeHandler } from '../../handler/handler.js';
import { OperatorAccess } from '../../handler/operator-access.js';
import { answerReply } from '../../handler/reply.js';

/** Options of {@link createFrontPage}. */
export interface FrontPageOptions {
  readonly version: string;
  readonly access: AccessPolicy | undefined;
  readonly allowedHosts?: readonly string[] | undefined;
}

/**
 * Creates a handler for `GET /`, which tells a person with a browser what this server is. Without read access, its status is 403.
 * `handle` resolves to `false` for any other request.
 */
export function createFrontPage({ version, access, allowedHosts }: FrontPageOptions): ExchangeHandler {
  const guard = new OperatorAccess(access, allowedHosts);
  return {
    async handle(exchange) {
      const { url, method } = exchange;
      if (url !== '/' || (method !== 'GET' && method !== 'HEAD')) return false;
      if (!(await guard.admits(exchange, 'none'))) return true;
      const isRefused = (await guard.refusalOf(exchange)) !== undefined;
      const body = { contentType: 'text/html; charset=utf-8', text: isRefused ? REFUSED : page(version) };
      answerReply(exchange, { status: isRefused ? 403 : 200, body });
      return true;
    },
  };
}

// Links are relative, because a proxy may mount the server below a path.
const page = (version: string): string => `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>hotblob</title>
<h1>hotblob ${version}</h1>
<p>This is a build cache. Build tools store and read artifacts here; the artifacts cannot be browsed.</p>
<ul>
<li><a href="_hotblob/">Live statistics</a>
<li><a href="_hotblob/metrics">Metrics for Prometheus</a>
<li>Configuration of build tools: <code>docs/build-tools.md</code> of the package
</ul>
</html>
`;

const REFUSED = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>hotblob</title>
<h1>hotblob</h1>
<p>This is a build cache. It requires a token.</p>
<p><a href="_hotblob/">The live statistics</a> ask for a password: enter a token, with any user name.</p>
</html>
`;
