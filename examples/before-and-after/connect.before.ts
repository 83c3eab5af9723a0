// Connect: a cache at /artifacts/<name>. Requests need a bearer token.
import { createServer } from 'node:http';
import connect from 'connect';
import morgan from 'morgan';
import send from 'send';
import { announce, isAllowed, nameIn, port, root, save } from './artifacts.js';

const app = connect();

app.use(morgan('tiny'));

app.use((request, response, next) => {
  if (isAllowed(request.headers.authorization)) return next();
  response.writeHead(401).end();
});

app.use((request, response, next) => {
  const name = nameIn(request.url);
  if (name === undefined) return next();
  switch (request.method) {
    case 'GET':
    case 'HEAD':
      send(request, name, { root }).on('error', next).pipe(response);
      break;
    case 'PUT':
      save(name, request).then(() => response.end(), next);
      break;
    default:
      response.writeHead(405).end();
  }
});

const server = createServer((request, response) => {
  try {
    app(request, response);
  } catch {
    response.writeHead(400).end(); // Connect throws for a target that is not a URL, such as `http://[`
  }
});
server.listen(port, '127.0.0.1', () => announce(server.address()));
