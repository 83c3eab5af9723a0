import { behaviour } from '../behaviour.js';

behaviour('port-h2c');
behaviour('port-https');
behaviour('port-node-http');
behaviour('port-node-h2c');
behaviour('port-node-https');
behaviour('port-node-h2');
