import { type AccessPolicy, CHALLENGE, checkAccess } from '../access/policy.js';
import type { Exchange, ResponseHeaders } from '../contract/exchange.js';
import { answerError } from './reply.js';
import { mayHaveBody } from './upload-body.js';

/** The protocol as which access policies know what is for operators: a token with `protocols=hotblob` is for that alone. */
const OPERATOR_PROTOCOL = 'hotblob';

/** Whether who asks may read what is for operators; answers who may not. */
export async function admitsOperator(exchange: Exchange, access: AccessPolicy | undefined): Promise<boolean> {
  const { authorization } = exchange.headers;
  const refusal = access && (await checkAccess(access, { authorization, protocol: OPERATOR_PROTOCOL, needs: 'read' }));
  if (refusal !== undefined)
    refuseOperator(exchange, refusal, refusal === 401 ? { 'www-authenticate': CHALLENGE } : {});
  return refusal === undefined;
}

/** Answers with an error, and does without what there is of a body. */
export function refuseOperator(exchange: Exchange, status: number, headers?: ResponseHeaders): void {
  if (mayHaveBody(exchange)) exchange.refuseBody();
  answerError(exchange, status, headers);
}
