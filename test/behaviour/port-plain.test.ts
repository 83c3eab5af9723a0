import { behaviour, hostBehaviour } from './behaviour.js';

behaviour('port-http');
hostBehaviour('port-h2c');
hostBehaviour('port-node-http');
hostBehaviour('port-koa-http');
hostBehaviour('port-express-http');
hostBehaviour('port-front-http');
