import { testTool } from './tool.js';
import { turborepo } from './tools/turborepo.js';

testTool(turborepo('turbo', {}, {}));
// The client asks by OPTIONS whether it may send its token.
testTool(turborepo('turbo, preflight', {}, { TURBO_PREFLIGHT: 'true' }));
// The client verifies the signature. An artifact that was changed, or has no signature, is not a hit.
const environment = { TURBO_REMOTE_CACHE_SIGNATURE_KEY: 'a key of the team with 32 bytes or more' };
testTool(turborepo('turbo, signed', { remoteCache: { signature: true } }, environment));
