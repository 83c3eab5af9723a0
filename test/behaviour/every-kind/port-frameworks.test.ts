import { behaviour } from '../behaviour.js';

behaviour('port-koa-http');
behaviour('port-koa-h2c');
behaviour('port-koa-https');
behaviour('port-koa-h2');
behaviour('port-express-http');
behaviour('port-express-https');
behaviour('port-front-http');
behaviour('port-front-h2c');
behaviour('port-front-https');
behaviour('port-front-h2');
