import { behaviour } from '../behaviour.js';

behaviour('koa-http');
behaviour('koa-https');
behaviour('koa-h2c');
behaviour('koa-h2');
behaviour('koa2-http');
behaviour('koa2-h2');
