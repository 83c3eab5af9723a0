import { behaviour, hostBehaviour } from './behaviour.js';

behaviour('port-h2');
hostBehaviour('port-https');
hostBehaviour('port-node-h2');
hostBehaviour('port-koa-h2');
hostBehaviour('port-front-h2');
