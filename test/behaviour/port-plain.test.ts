import { behaviour } from './behaviour.js';

behaviour('port-http');
behaviour('port-h2c');
behaviour('port-node-http');
behaviour('port-node-h2c');
behaviour('port-koa-http');
behaviour('port-koa-h2c');
behaviour('port-express-http');
behaviour('port-front-http');
behaviour('port-front-h2c');
