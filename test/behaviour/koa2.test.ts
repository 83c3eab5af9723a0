import { behaviour } from './behaviour.js';

behaviour('koa2-http');
behaviour('koa2-h2');
