import { type AccessPolicy, CHALLENGE, checkAccess } from '../access/policy.js';
import { OPERATOR_PROTOCOL } from '../access/token-syntax.js';
import type { Exchange, ResponseHeaders } from '../contract/exchange.js';
import { answerError } from './reply.js';
import { mayHaveBody } from './upload-body.js';

/** Returns whether the client has read access to operator pages. If it does not, responds with 401 or 403. */
export async function admitsOperator(exchange: Exchange, access: AccessPolicy | undefined): Promise<boolean> {
  const { authorization } = exchange.headers;
  const refusal = access && (await checkAccess(access, { authorization, protocol: OPERATOR_PROTOCOL, needs: 'read' }));
  if (refusal !== undefined) {
    refuseOperator(exchange, refusal, refusal === 401 ? { 'www-authenticate': CHALLENGE } : {});
  }
  return refusal === undefined;
}

/** Responds with an error, without reading the request body. */
export function refuseOperator(exchange: Exchange, status: number, headers?: ResponseHeaders): void {
  if (mayHaveBody(exchange)) exchange.refuseBody();
  answerError(exchange, status, headers);
}
