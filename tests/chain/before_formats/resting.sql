CREATE TABLE facts (name text primary key, value text not null);
INSERT INTO facts VALUES('file','$FILE');
INSERT INTO facts VALUES('up','yes');
INSERT INTO facts VALUES('keeper','$KEEPER');
CREATE TABLE lease (id integer primary key check (id = 1), epoch integer not null, pid integer,
    born integer, purpose text not null, since real not null);
INSERT INTO lease VALUES(1,1,NULL,NULL,'up',999999999.974);
CREATE TABLE tiers (tier text primary key, course text not null);
INSERT INTO tiers VALUES('gateway','{"goal": "v1", "previous": null, "status": "resting", "reason": "", "serial": 1, "failures": 0, "admitted_at": 1000000000.724, "not_before": 1000000000.076, "deaths": 0, "admissions": 1, "before_first": 0, "strategy": "rolling", "step": 0, "step_at": 1000000000.076, "asked": false, "promoted": false, "asking": "", "after": "", "paused": "", "before": null, "tried": null}');
INSERT INTO tiers VALUES('runtime','{"goal": "v1", "previous": null, "status": "resting", "reason": "", "serial": 2, "failures": 0, "admitted_at": 1000000000.885, "not_before": 1000000000.075, "deaths": 0, "admissions": 2, "before_first": 0, "strategy": "rolling", "step": 0, "step_at": 1000000000.075, "asked": false, "promoted": false, "asking": "", "after": "", "paused": "", "before": null, "tried": null}');
CREATE TABLE members (name text primary key, tier text not null, phase text not null, serial integer
    not null, member text not null);
INSERT INTO members VALUES('gateway-v1-1','gateway','admitted',1,'{"name": "gateway-v1-1", "template": "v1", "serial": 1, "phase": "admitted", "times": {"created": 1000000000.076, "creating": 1000000000.076, "warming": 1000000000.474, "ready": 1000000000.579, "admitted": 1000000000.724}, "patience_from": 1000000000.076, "asked_at": 1000000000.579, "deadline": null, "last_busy": null, "overdue": false, "cut": "", "weight": 100, "weight_seen": 100, "served": true, "given_up": false}');
INSERT INTO members VALUES('runtime-v1-1','runtime','admitted',1,'{"name": "runtime-v1-1", "template": "v1", "serial": 1, "phase": "admitted", "times": {"created": 1000000000.075, "creating": 1000000000.075, "warming": 1000000000.65, "ready": 1000000000.77, "admitted": 1000000000.812}, "patience_from": 1000000000.075, "asked_at": 1000000000.77, "deadline": null, "last_busy": null, "overdue": false, "cut": "", "weight": 100, "weight_seen": 100, "served": true, "given_up": false}');
INSERT INTO members VALUES('runtime-v1-2','runtime','admitted',2,'{"name": "runtime-v1-2", "template": "v1", "serial": 2, "phase": "admitted", "times": {"created": 1000000000.075, "creating": 1000000000.075, "warming": 1000000000.729, "ready": 1000000000.848, "admitted": 1000000000.885}, "patience_from": 1000000000.075, "asked_at": 1000000000.848, "deadline": null, "last_busy": null, "overdue": false, "cut": "", "weight": 100, "weight_seen": 100, "served": true, "given_up": false}');
CREATE TABLE templates (tier text, name text, hash text not null, primary key (tier, name));
INSERT INTO templates VALUES('runtime','v1','fdea88bc31fb');
INSERT INTO templates VALUES('gateway','v1','e7790801584d');
CREATE TABLE rollouts (id integer primary key, tier text not null, came_from text not null, goal text
    not null, started real not null, ended real, outcome text, reason text, told integer not null default 0);
INSERT INTO rollouts VALUES(1,'gateway','','v1',1000000000.074,1000000000.724,'completed','',0);
INSERT INTO rollouts VALUES(2,'runtime','','v1',1000000000.074,1000000000.885,'completed','',0);
CREATE TABLE releases (id integer primary key, goals text not null, came_from text not null, strategy
    text, started real not null, undoing text, ended real, outcome text, reason text);
CREATE TABLE asks (id integer primary key, tier text not null, action text not null, who text not null,
    at real not null, answer text);
CREATE TABLE log (seq integer primary key, at real not null, rollout integer, tier text, instance text,
    kind text not null, text text not null);
INSERT INTO log VALUES(1,1000000000.075,2,'runtime','','event','Started(at=1000000000.075, goal=''v1'', strategy=None)');
INSERT INTO log VALUES(4,1000000000.076,1,'gateway','','event','Started(at=1000000000.076, goal=''v1'', strategy=None)');
INSERT INTO log VALUES(14,1000000000.724,1,'gateway','','command','Finish(outcome=''completed'', reason='''')');
INSERT INTO log VALUES(25,1000000000.885,2,'runtime','','command','Finish(outcome=''completed'', reason='''')');
CREATE INDEX members_here on members (tier, phase);
