import { behaviour } from './behaviour.js';

behaviour('port-https');
behaviour('port-h2');
behaviour('port-node-https');
behaviour('port-node-h2');
behaviour('port-koa-https');
behaviour('port-koa-h2');
behaviour('port-express-https');
behaviour('port-front-https');
behaviour('port-front-h2');
