import { testTool } from './tool.js';
import { buildWorkspace, expectedOutput, isHit, OUTPUT, prepareWorkspace } from './turbo-workspace.js';

testTurbo('turbo', {}, {});
// Compared by the client: what has changed on its way is no hit, and what lacks the signature is none either.
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
    withWrongToken: 'builds',
    withHurtArtifact: 'builds',
  });
}
