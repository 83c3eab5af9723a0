import { testTool } from './tool.js';
import { buildWorkspace, expectedOutput, isHit, OUTPUT, prepareWorkspace } from './turbo-workspace.js';

testTurbo('turbo', {}, {});
// The client asks by OPTIONS whether it may send its token.
testTurbo('turbo, preflight', {}, { TURBO_PREFLIGHT: 'true' });
// The client verifies the signature. An artifact that was changed, or has no signature, is not a hit.
testTurbo(
  'turbo, signed',
  { remoteCache: { signature: true } },
  {
    TURBO_REMOTE_CACHE_SIGNATURE_KEY: 'a key of the team with 32 bytes or more',
  },
);

function testTurbo(name: string, settings: object, environment: Record<string, string>): void {
  testTool({
    name,
    prepare: (directory, input) => prepareWorkspace(directory, input, settings),
    build: (directory, port, token) => buildWorkspace(directory, port, token, environment),
    output: OUTPUT,
    expected: expectedOutput,
    isHit,
    withUnknownToken: 'builds',
  });
}
