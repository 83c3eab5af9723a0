import { chmod, writeFile } from 'node:fs/promises';
import test from 'ava';
import { fileArtifact } from '../../../src/contract/file-artifact.js';
import { SendError } from '../../../src/contract/send-error.js';
import { openRoute, ROUTE_KINDS } from '../../helpers/routes.js';
import { temporaryDirectory, unprivileged } from '../../stores/fixture.js';

for (const kind of ROUTE_KINDS) {
  test.serial(
    `${kind}: a file without read permission is answered with 403, and the response does not name its path`,
    async (t) => {
      const directory = await temporaryDirectory(t);
      await chmod(directory, 0o755);
      const path = `${directory}/secret-name`;
      await writeFile(path, 'bytes');
      await chmod(path, 0);
      const site = await openRoute(t, kind, { artifactOf: () => fileArtifact(path) });
      const response = await unprivileged(() => site.ask('/'));
      t.is(response.status, 403);
      t.notRegex(response.body.toString(), /secret/);
      const [error] = site.outcomes;
      t.true(error instanceof SendError);
      t.like(error as SendError, { code: 'EACCES', status: 403, statusCode: 403 });
      t.like((error as SendError).cause, { code: 'EACCES', path });
      await chmod(path, 0o644);
      t.is((await site.ask('/')).body.toString(), 'bytes');
    },
  );
}
